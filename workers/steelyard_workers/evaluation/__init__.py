"""Evaluation jobs: any version, on any split of a dataset, in the runtime its files are for."""
