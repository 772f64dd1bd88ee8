"""The light jobs that look after what is stored, and tell webhooks what happened."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

from celery import shared_task
from django.conf import settings

from steelyard_platform.repos.conversion import convert_waiting
from steelyard_platform.repos.deliveries import deliver_due
from steelyard_platform.repos.expiry import expire_versions
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.restoring import empty_due

_log = logging.getLogger(__name__)
_delivering = threading.Lock()


@shared_task(name="steelyard.collect_garbage", ignore_result=True)
def collect() -> None:
    found = collect_garbage(timedelta(hours=settings.ENVIRONMENT.garbage_grace_hours))
    _log.info("collected garbage: %s", found)


@shared_task(name="steelyard.look_after_trash", ignore_result=True)
def look_after_trash() -> None:
    """Rules put versions in; what has been there for long enough goes for good."""
    expired, emptied = expire_versions(), empty_due()
    if expired or emptied:
        _log.info("put %d expired versions into the trash; emptied %d things from it", expired, emptied)


@shared_task(name="steelyard.convert_files", ignore_result=True)
def convert() -> None:
    if count := convert_waiting():
        _log.info("stored %d whole files by chunks", count)


@shared_task(name="steelyard.deliver_webhooks", ignore_result=True)
def deliver_webhooks() -> None:
    """One thread of a process at most: receivers that take their time must not keep the other light jobs waiting."""
    if not _delivering.acquire(blocking=False):
        return
    try:
        deliver_due()
    finally:
        _delivering.release()
