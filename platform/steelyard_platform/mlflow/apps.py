"""Tells garbage collection and pages of the files that runs hold, pages what was said, deliveries how to speak."""

from __future__ import annotations

from django.apps import AppConfig


class MLflowApp(AppConfig):
    name = "steelyard_platform.mlflow"

    def ready(self) -> None:
        from steelyard_platform.jobs.run_files import list_files_with
        from steelyard_platform.mlflow.artifacts import files_for_page
        from steelyard_platform.mlflow.models import RunFile
        from steelyard_platform.mlflow.notes import note_on_repository, note_on_version
        from steelyard_platform.mlflow.webhooks import letter_for
        from steelyard_platform.repos.deliveries import translate
        from steelyard_platform.repos.garbage import keep_blobs_of
        from steelyard_platform.repos.notes import write_notes_with

        keep_blobs_of(RunFile)
        list_files_with(files_for_page)
        translate(letter_for)
        write_notes_with(note_on_repository, note_on_version)
