"""The main job on real pictures, end to end, through the public interfaces: `make demo`."""
