"""How attempts end: by the worker's word, or by its silence. `outcomes` decides what becomes of the job."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from steelyard_contracts.jobs import AttemptEnd, Finish, JobState
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import PLATFORM, Actor
from steelyard_platform.accounts.tokens import retire_token, revoke_token
from steelyard_platform.jobs.checkpoints import tidy_checkpoints
from steelyard_platform.jobs.groups import keep_groups_whole
from steelyard_platform.jobs.leases import HELD, held_job
from steelyard_platform.jobs.models import Attempt, Job
from steelyard_platform.jobs.outcomes import Outcome, after_finish, after_silence
from steelyard_platform.jobs.settling import limits, settle

# For so long, a worker that did not hear the answer to its last word may say it again.
_LAST_WORD_IS_KNOWN_FOR = timedelta(minutes=10)


def finish_job(*, job_id: UUID, actor: Actor, finish: Finish) -> Job:
    """Ends the attempt, once; said again, it is answered again. A failure that may pass queues the job anew.

    Raises: LeaseLostError.
    """
    if _was_said(job_id, actor, finish):
        return Job.objects.select_related("team").get(pk=job_id)
    with transaction.atomic():
        job = held_job(job_id, actor, lock=True)
        is_cancelled = job.cancel_requested_at is not None
        outcome = after_finish(finish, failures=job.failures, is_cancelled=is_cancelled, limits=limits())
        settle(job, outcome, why=finish.error or "", result=finish.result)
        if job.token is not None:
            retire_token(job.token, known_for=_LAST_WORD_IS_KNOWN_FOR)
        audit.record(actor, "finish job", str(job.pk), state=finish.state, becomes=outcome.state)
    tidy_checkpoints(job)
    keep_groups_whole(beside=job)
    return job


def _was_said(job_id: UUID, actor: Actor, finish: Finish) -> bool:
    """Whether the actor's attempt has ended with these very words."""
    if actor.subject_id("job") != job_id:
        return False
    said = Attempt.objects.filter(job=job_id, token_id=actor.token_id).exclude(ended_at=None).first()
    if said is None:
        return False
    ending = AttemptEnd.RELEASED if finish.released else AttemptEnd(finish.state)
    return (said.ending, said.why) == (ending, finish.error or "")


def take_back(job_id: UUID) -> bool:
    """Ends the attempt of a worker that went silent. Whether there was one."""
    with transaction.atomic():
        silent = Job.objects.filter(pk=job_id, state__in=HELD, lease_expires_at__lt=timezone.now())
        job = silent.select_for_update(of=("self",)).select_related("team", "token").first()
        if job is None:
            return False
        is_cancelled = job.cancel_requested_at is not None
        outcome = after_silence(failures=job.failures, is_cancelled=is_cancelled, limits=limits())
        settle(job, outcome, why=_silence(job, outcome))
        if job.token is not None:
            revoke_token(job.token)
        audit.record(PLATFORM, "take back job", str(job.pk), worker=job.worker, attempt=job.attempt)
    tidy_checkpoints(job)
    keep_groups_whole(beside=job)
    return True


def requeue_lost_jobs() -> int:
    """Leases that ended: queued again, or lost when the attempts are used up. Returns how many."""
    silent = Job.objects.filter(state__in=HELD, lease_expires_at__lt=timezone.now())
    return sum(take_back(job_id) for job_id in silent.order_by("lease_expires_at").values_list("pk", flat=True)[:100])


def _silence(job: Job, outcome: Outcome) -> str:
    if outcome.state is JobState.LOST:
        return f"The worker went silent {outcome.failures} times, last on {job.worker}; see the log."
    return f"{job.worker} went silent"
