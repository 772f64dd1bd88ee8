"""A worker without a broker asks for its next job, and is kept waiting a while when there is none.

Who waits holds a thread of the web process. A quarter of them may be held that way; whoever comes beyond that is
answered at once and told when to ask again, so that workers, however many, never keep people out.
"""

from __future__ import annotations

import time
from functools import cache
from threading import BoundedSemaphore
from uuid import UUID

from django.conf import settings

from steelyard_contracts.workers import NextJob, NextJobRequest
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs.placement import own_worker, waiting_job_for

_LOOK_EVERY = 1.0
_WITHOUT_A_SEAT = 3.0
_SHARE_OF_THREADS = 4


def next_job(*, worker_id: UUID, request: NextJobRequest, actor: Actor) -> NextJob:
    """A job that waits and fits the worker, which is claimed as any other. Raises: ForbiddenError."""
    found = _look(worker_id, request, actor)
    if found is not None or not request.wait_seconds:
        return found or NextJob()
    if not _seats().acquire(blocking=False):
        return NextJob(again_seconds=_WITHOUT_A_SEAT)
    try:
        return _wait(worker_id, request, actor)
    finally:
        _seats().release()


def _wait(worker_id: UUID, request: NextJobRequest, actor: Actor) -> NextJob:
    deadline = time.monotonic() + request.wait_seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(_LOOK_EVERY, left))
        if (found := _look(worker_id, request, actor)) is not None:
            return found
    return NextJob()


def _look(worker_id: UUID, request: NextJobRequest, actor: Actor) -> NextJob | None:
    worker = own_worker(worker_id, actor)
    if worker.is_draining:
        return NextJob(is_draining=True, again_seconds=_WITHOUT_A_SEAT)
    return waiting_job_for(worker, request.exclude)


@cache
def _seats() -> BoundedSemaphore:
    return BoundedSemaphore(max(1, settings.ENVIRONMENT.web_threads // _SHARE_OF_THREADS))
