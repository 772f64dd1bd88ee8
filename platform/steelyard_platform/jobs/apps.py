"""Tells the core which versions and files jobs refer to."""

from __future__ import annotations

from django.apps import AppConfig


class JobsApp(AppConfig):
    name = "steelyard_platform.jobs"

    def ready(self) -> None:
        from steelyard_platform.jobs.holds import JobHolder
        from steelyard_platform.jobs.models import Archive
        from steelyard_platform.repos.garbage import keep_blobs_of
        from steelyard_platform.repos.holds import register

        register(JobHolder())
        keep_blobs_of(Archive)
