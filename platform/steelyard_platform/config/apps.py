"""Makes the Celery app the default one as soon as Django is ready, in every process that uses Django."""

from __future__ import annotations

from django.apps import AppConfig


class ConfigApp(AppConfig):
    name = "steelyard_platform.config"

    def ready(self) -> None:
        from steelyard_platform.config import celery  # noqa: F401 - imported for its default app
