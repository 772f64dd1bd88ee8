"""The lease of a job: whoever holds its token renews it, by heartbeats or by anything it writes; nobody else writes.

A client that trains elsewhere and claims its own job needs no heartbeats of their own while it reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, FloatField, Value, When
from django.db.models.functions import Greatest
from django.utils import timezone

from steelyard_contracts.errors import LeaseLostError
from steelyard_contracts.jobs import Heartbeat, HeartbeatAnswer, JobState, LogLine, MetricPoint
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import series
from steelyard_platform.jobs.models import Job

HELD = tuple(state for state in JobState if state.is_held)


def held_job(job_id: UUID, actor: Actor, *, lock: bool = False) -> Job:
    """The job, if the actor's token is its lease; with `lock`, for the rest of the transaction.

    Raises: LeaseLostError.
    """
    jobs = Job.objects.select_for_update(of=("self",)) if lock else Job.objects.all()
    job = jobs.select_related("team").filter(pk=job_id).first()
    if job is None or actor.subject_id("job") != job_id or job.token_id != actor.token_id:
        raise LeaseLostError("This token is not, or no longer, the lease of that job.")
    if not JobState(job.state).is_held:
        raise LeaseLostError(f"The job is {job.state}; nothing more can be written to it.")
    return job


def renew(job_id: UUID, actor: Actor, **changes: Any) -> None:
    """Renews the lease, and keeps others off the job for the rest of the transaction. Raises: LeaseLostError."""
    has_begun = Case(When(state=JobState.CLAIMED, then=Value(JobState.RUNNING)), default=F("state"))
    values = {"state": has_begun, "lease_expires_at": timezone.now() + lease_length(), **changes}
    held = Job.objects.filter(pk=job_id, token_id=actor.token_id, state__in=HELD)
    if actor.subject_id("job") != job_id or not held.update(**values):
        held_job(job_id, actor)
        raise LeaseLostError("The lease has ended.")


@transaction.atomic
def heartbeat(*, job_id: UUID, actor: Actor, beat: Heartbeat) -> HeartbeatAnswer:
    """Renews the lease and says whether to stop. Raises: LeaseLostError."""
    # A supervisor's bare heartbeat says that it is there, not that the work has begun.
    said: dict[str, Any] = beat.model_dump(exclude_none=True) or {"state": F("state")}
    if beat.progress is not None:  # one that goes on fetches its data again, and is no less far for that
        said["progress"] = Greatest(F("progress"), beat.progress, output_field=FloatField())
    renew(job_id, actor, **said)
    job = Job.objects.only("cancel_requested_at", "stop_requested_at").get(pk=job_id)
    return HeartbeatAnswer(
        cancel=job.cancel_requested_at is not None,
        stop=job.stop_requested_at is not None,
        lease_seconds=int(lease_length().total_seconds()),
    )


@transaction.atomic
def write_metrics(*, job_id: UUID, actor: Actor, points: Sequence[MetricPoint]) -> None:
    """Raises: LeaseLostError."""
    renew(job_id, actor)
    series.write_points(job_id, points)


@transaction.atomic
def write_log(*, job_id: UUID, actor: Actor, lines: Sequence[LogLine]) -> None:
    """Raises: LeaseLostError."""
    renew(job_id, actor)
    attempt = Job.objects.values_list("attempt", flat=True).get(pk=job_id)
    series.write_lines(job_id, attempt, lines)


def lease_length() -> timedelta:
    return timedelta(seconds=settings.ENVIRONMENT.lease_seconds)
