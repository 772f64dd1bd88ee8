"""Telling the workers that a job waits. A message holds the job's id; losing one costs a minute, never a job."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from steelyard_platform.jobs.models import Job

COMPUTE_QUEUE = "compute"
RUN_JOB = "steelyard.run_job"
# Seconds: by then it has been rung again, and a busy worker finds one message and not a thousand.
_EXPIRES = 90
_log = logging.getLogger(__name__)


def ring_after_commit(job: UUID) -> None:
    transaction.on_commit(lambda: ring(job))


def ring(job: UUID) -> None:
    """Never fails: a broker that is down is rung again by `tasks.look_after_jobs`."""
    try:
        current_app.send_task(
            RUN_JOB, args=[str(job)], queue=COMPUTE_QUEUE, ignore_result=True, retry=False, expires=_EXPIRES
        )
    except (OperationalError, OSError) as error:
        _log.warning("The broker did not take job %s, which stays queued: %s", job, error)
        return
    Job.objects.filter(pk=job).update(rung_at=timezone.now())
