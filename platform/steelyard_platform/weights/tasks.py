"""The light jobs that sign what was committed, and write again what search looks through."""

from __future__ import annotations

import logging
import threading

from celery import shared_task

from steelyard_platform.weights.search import index_outdated
from steelyard_platform.weights.signing import sign_waiting

_log = logging.getLogger(__name__)
_signing = threading.Lock()


@shared_task(name="steelyard.sign_versions", ignore_result=True)
def sign_versions(newest: int | None = None) -> None:
    """One thread of a process at most: a backlog, or a slow KMS, must not keep the other light jobs waiting."""
    if not _signing.acquire(blocking=False):
        return
    try:
        if count := sign_waiting(newest=newest):
            _log.info("signed %d versions", count)
    finally:
        _signing.release()


@shared_task(name="steelyard.index_search", ignore_result=True)
def index_search() -> None:
    """After an update that finds repositories by more than before."""
    if count := index_outdated():
        _log.info("wrote again what %d repositories are found by", count)
