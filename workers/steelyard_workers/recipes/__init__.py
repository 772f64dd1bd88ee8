"""One readable training loop per task."""
