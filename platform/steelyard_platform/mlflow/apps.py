"""Tells garbage collection of the files that runs hold, and deliveries how MLflow's webhooks are spoken to."""

from __future__ import annotations

from django.apps import AppConfig


class MLflowApp(AppConfig):
    name = "steelyard_platform.mlflow"

    def ready(self) -> None:
        from steelyard_platform.mlflow.models import RunFile
        from steelyard_platform.mlflow.webhooks import letter_for
        from steelyard_platform.repos.deliveries import translate
        from steelyard_platform.repos.garbage import keep_blobs_of

        keep_blobs_of(RunFile)
        translate(letter_for)
