"""The light job that signs what was committed."""

from __future__ import annotations

import logging
import threading

from celery import shared_task

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
