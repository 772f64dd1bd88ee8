"""Telling the workers that a job waits. A message holds the job's id; losing one costs a minute, never a job."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from kombu.exceptions import OperationalError

from steelyard_contracts.jobs import JobState
from steelyard_platform.jobs.models import Job

RUN_JOB = "steelyard.run_job"
# Seconds: by then it has been rung again, and a busy worker finds one message and not a thousand.
_EXPIRES = 90
_RING_AGAIN_AFTER = timedelta(seconds=60)
_log = logging.getLogger(__name__)


def ring_after_commit(job: UUID) -> None:
    transaction.on_commit(lambda: ring(job))


def ring(job: UUID) -> None:
    """In the queue of what the job needs. Never fails: a broker that is down is rung again by `look_after_jobs`."""
    queue = Job.objects.filter(pk=job).values_list("queue", flat=True).first()
    if queue is None:
        return
    try:
        current_app.send_task(RUN_JOB, args=[str(job)], queue=queue, ignore_result=True, retry=False, expires=_EXPIRES)
    except (OperationalError, OSError) as error:
        _log.warning("The broker did not take job %s, which stays queued: %s", job, error)
        return
    Job.objects.filter(pk=job).update(rung_at=timezone.now())


def ring_for_waiting_jobs() -> None:
    """For messages that were lost on the way, and jobs whose pause is over."""
    now = timezone.now()
    is_due = Q(not_before=None) | Q(not_before__lte=now)
    is_unheard = Q(rung_at=None) | Q(rung_at__lt=now - _RING_AGAIN_AFTER)
    waiting = Job.objects.filter(is_due, is_unheard, state=JobState.QUEUED)
    for job_id in waiting.order_by("created_at").values_list("pk", flat=True)[:100]:
        ring(job_id)
