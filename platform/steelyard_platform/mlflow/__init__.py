"""The face that MLflow's clients speak to, under `/mlflow`. It keeps what MLflow has and we do not, no copy of ours.

An experiment is a project (a model repository), a run is a job of kind `run`, a registered model is a model repository,
its versions and aliases are ours.
"""
