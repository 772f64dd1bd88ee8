"""Writing down how an attempt ended and what becomes of its job, for all who end one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from steelyard_contracts.jobs import JobState
from steelyard_platform.jobs import doorbell
from steelyard_platform.jobs.models import Attempt, Job
from steelyard_platform.jobs.outcomes import Limits, Outcome, of_companion
from steelyard_platform.jobs.placement import AGAIN
from steelyard_platform.jobs.search_bell import ring_search_after_commit
from steelyard_platform.repos.commits import versions_of_job

_MESSAGE_LENGTH = 500


def settle(job: Job, outcome: Outcome, *, why: str, result: dict[str, Any] | None = None) -> None:
    """Writes the outcome to the job, which is locked, and to its attempt; rings for one that is queued again."""
    now = timezone.now()
    outcome = of_companion(outcome) if job.leader_id else outcome
    attempts = Attempt.objects.filter(job=job, number=job.attempt)
    attempts.update(ended_at=now, ending=outcome.ending, why=why)
    job.state, job.failures = outcome.state, outcome.failures
    if outcome.state is JobState.QUEUED:
        job.message = f"{AGAIN}: {why}"[:_MESSAGE_LENGTH]
        job.rung_at = None
        job.not_before = now + outcome.pause if outcome.pause else None
    else:
        job.finished_at, job.result = now, _with_committed(job, result or {})
        job.error = "" if outcome.state in {JobState.SUCCEEDED, JobState.CANCELLED} else why
        job.message = str(outcome.state) if outcome.state in {JobState.CANCELLED, JobState.LOST} else ""
        job.progress = 1.0 if outcome.state is JobState.SUCCEEDED else job.progress
    job.save()
    if job.search_id is not None and outcome.state.is_final:
        ring_search_after_commit(job.search_id)
    if outcome.state is JobState.QUEUED and not outcome.pause:
        doorbell.ring_after_commit(job.pk)


def _with_committed(job: Job, result: dict[str, Any]) -> dict[str, Any]:
    """A job that did not succeed says which versions it left behind all the same."""
    if job.state == JobState.SUCCEEDED:
        return result
    left = [f"{one.repository.full_name}@{one.label}" for one in versions_of_job(job.pk)]
    return {**result, "committed": left} if left else result


def limits() -> Limits:
    environment = settings.ENVIRONMENT
    return Limits(environment.max_attempts, timedelta(seconds=environment.retry_pause_seconds))
