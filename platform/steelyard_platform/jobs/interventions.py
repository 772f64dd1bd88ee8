"""What people say to a job that is there: cancel it, stop it and keep what it has, resume it.

    cancel    a queued job ends now, a held one at its worker's next heartbeat; nothing more is committed
    stop      a training ends at its next step; its best state becomes a version, and the job succeeds
    resume    a job that ended without success is queued again, and goes on from its last checkpoint

Each is one conditional update with its audit row.
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from steelyard_contracts.errors import ConflictError
from steelyard_contracts.jobs import JobState
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.jobs import doorbell
from steelyard_platform.jobs.leases import HELD
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import WITH_RUN, is_run

# Kinds whose work has a best state at any time.
STOPPABLE_KINDS = frozenset({"train", "run"})


def cancel_job(*, job: Job, actor: Actor) -> Job:
    """Raises: ForbiddenError; ConflictError for a job that has ended."""
    demand(actor, Action.RUN_JOBS, job.team.resource)
    now = timezone.now()
    with transaction.atomic():
        queued = Job.objects.filter(pk=job.pk, state=JobState.QUEUED)
        ended = queued.update(state=JobState.CANCELLED, cancel_requested_at=now, finished_at=now, message="cancelled")
        held = Job.objects.filter(pk=job.pk, state__in=HELD)
        if not ended and not held.update(cancel_requested_at=now, message="cancelling"):
            raise _too_late(job)
        audit.record(actor, "cancel job", str(job.pk))
    return _fresh(job)


def stop_job(*, job: Job, actor: Actor) -> Job:
    """Raises: ForbiddenError; ConflictError for what has not begun, has ended, or cannot be stopped half-way."""
    demand(actor, Action.RUN_JOBS, job.team.resource)
    if job.kind not in STOPPABLE_KINDS:
        raise ConflictError(f"Only a training can be stopped and kept; cancel this {job.kind} job instead.")
    with transaction.atomic():
        held = Job.objects.filter(pk=job.pk, state__in=HELD, cancel_requested_at=None)
        if not held.update(stop_requested_at=timezone.now(), message="stopping"):
            raise _too_late(job)
        audit.record(actor, "stop job", str(job.pk))
    return _fresh(job)


def resume_job(*, job: Job, actor: Actor) -> Job:
    """With as many attempts as a new job has. Raises: ForbiddenError; ConflictError unless it ended without success."""
    demand(actor, Action.RUN_JOBS, job.team.resource)
    if is_run(job):
        raise ConflictError("A run goes on when the program that trains says so, as with steelyard.init(resume=…).")
    with transaction.atomic():
        ended = Job.objects.filter(pk=job.pk, state__in=[one for one in JobState.QUEUED.sources if one.is_final])
        resumed = ended.update(
            state=JobState.QUEUED,
            failures=0,
            not_before=None,
            rung_at=None,
            finished_at=None,
            cancel_requested_at=None,
            stop_requested_at=None,
            error="",
            result={},
            message="waiting for a worker",
        )
        if not resumed:
            state = _fresh(job).state
            advice = "clone it to run it once more" if state == JobState.SUCCEEDED else "it has not ended"
            raise ConflictError(f"The job is {state}: {advice}. Only a job that ended otherwise is resumed.")
        audit.record(actor, "resume job", str(job.pk))
        doorbell.ring_after_commit(job.pk)
    return _fresh(job)


def _too_late(job: Job) -> ConflictError:
    now = _fresh(job)
    if now.state == JobState.QUEUED:
        return ConflictError("The job has not begun, so there is nothing to keep; cancel it instead.", state=now.state)
    if not JobState(now.state).is_final:
        return ConflictError("The job is being cancelled already.", state=now.state)
    return ConflictError(f"The job is {now.state} already.", state=now.state)


def _fresh(job: Job) -> Job:
    return Job.objects.select_related(*WITH_RUN).get(pk=job.pk)
