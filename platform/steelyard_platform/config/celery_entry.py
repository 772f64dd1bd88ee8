"""`celery --app steelyard_platform.config.celery_entry`: sets Django up before the app is made."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "steelyard_platform.config.settings")  # noqa: TID251 - Django's own switch
django.setup()

from steelyard_platform.config.celery import app  # noqa: E402 - after the set-up it needs

__all__ = ["app"]
