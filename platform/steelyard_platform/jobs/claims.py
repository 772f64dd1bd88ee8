"""Claiming: one conditional update decides who does a job, and that worker gets a token for it alone."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Concat, Left
from django.utils import timezone

from steelyard_contracts.errors import ConflictError, ForbiddenError, SteelyardError
from steelyard_contracts.jobs import Claim, CommittedVersion, JobState, ResumePoint
from steelyard_contracts.workers import Resources
from steelyard_platform.accounts.permissions import PLATFORM, Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_user, issue_token, revoke_token
from steelyard_platform.jobs import placement, series
from steelyard_platform.jobs.checkpoints import checkpoint_of
from steelyard_platform.jobs.endings import take_back
from steelyard_platform.jobs.leases import held_job, lease_length
from steelyard_platform.jobs.models import Attempt, Job
from steelyard_platform.jobs.queries import view_of
from steelyard_platform.jobs.specs import OWN_KINDS, pin, reader_for
from steelyard_platform.repos.commits import versions_of_job

_HEARTBEATS_PER_LEASE = 4
_NAME_LENGTH = 200


def claim_job(
    *, job_id: UUID, worker: str, actor: Actor, worker_id: UUID | None = None, key: UUID | None = None
) -> Claim:
    """One conditional update decides who gets it; a message delivered five times still runs once.

    Args:
        job_id: the job.
        worker: who claims, for people to read.
        actor: a worker.
        worker_id: its place among the workers, which says what it has.
        key: of this claim; said again while nothing was written, it gets the same attempt again.

    Raises:
        ForbiddenError: not a worker's token.
        ConflictError: somebody else has it, it waits for a pause to end, has ended, or does not fit the worker.
    """
    if actor.scope is not Scope.WORKER:
        raise ForbiddenError("Jobs are claimed with a worker's token.")
    take_back(job_id)
    place = placement.admit(job_id, worker_id, actor)
    try:
        with transaction.atomic():
            job = _claimed_with(key, job_id) or _take(job_id, worker, key)
            placement.note_claim(place, job)
            _tell_leader(job)
            secret = _hand_over_lease(job)
    except ConflictError:
        raise
    except SteelyardError as error:
        # What it names is gone, or its requester may no longer use it: trying again would find the same.
        ended = {"state": JobState.FAILED, "finished_at": timezone.now(), "error": str(error), "message": ""}
        Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(**ended)
        raise ConflictError(f"This job cannot be done any more: {error}", job=str(job_id)) from error
    return _claim_of(job, secret)


@transaction.atomic
def begin_again(*, job_id: UUID, actor: Actor) -> ResumePoint:
    """Within an attempt: its processes died and were started again, and do again what came after the last checkpoint.

    Raises: LeaseLostError.
    """
    job = held_job(job_id, actor, lock=True)
    checkpoint = checkpoint_of(job)
    series.drop_points_beyond(job.pk, -1 if checkpoint is None else checkpoint.step)
    return ResumePoint(checkpoint=checkpoint, committed=_committed_by(job))


def _committed_by(job: Job) -> list[CommittedVersion]:
    return [
        CommittedVersion(repository=one.repository.full_name, version=one.label, branch=one.branch.name)
        for one in versions_of_job(job.pk)
    ]


def _claim_of(job: Job, secret: str) -> Claim:
    return Claim(
        id=job.pk,
        attempt=job.attempt,
        spec=view_of(job).spec,
        token=secret,
        lease_seconds=int(lease_length().total_seconds()),
        heartbeat_seconds=lease_length().total_seconds() / _HEARTBEATS_PER_LEASE,
        checkpoint=checkpoint_of(job.leader or job),
        committed=_committed_by(job),
        resources=Resources.model_validate(job.resources),
    )


def _claimed_with(key: UUID | None, job_id: UUID) -> Job | None:
    """The job, when this very claim has got it already and only the answer was lost."""
    jobs = Job.objects.select_for_update(of=("self",)).select_related("team", "token", "leader")
    job = jobs.filter(pk=job_id, state=JobState.CLAIMED).first()
    if job is None or key is None:
        return None
    is_its_own = Attempt.objects.filter(job=job, number=job.attempt, claim_key=key).exists()
    return job if is_its_own else None


def _take(job_id: UUID, worker: str, key: UUID | None) -> Job:
    """The job, now claimed, with a row for the attempt. Raises: ConflictError when it is not free."""
    now = timezone.now()
    is_due = Q(not_before=None) | Q(not_before__lte=now)
    is_free = Job.objects.filter(is_due, pk=job_id, state__in=JobState.CLAIMED.sources, cancel_requested_at=None)
    claimed = is_free.update(
        state=JobState.CLAIMED,
        attempt=F("attempt") + 1,
        worker=worker,
        lease_expires_at=now + lease_length(),
        started_at=Coalesce("started_at", now),
        not_before=None,
        message="starting",
    )
    if not claimed:
        raise ConflictError(
            "This job is claimed by another worker, waits for a pause to end, or has ended.", job=str(job_id)
        )
    job = Job.objects.select_related("team", "token", "leader").get(pk=job_id)
    checkpoint = checkpoint_of(job)
    step = checkpoint.step if checkpoint else None
    if checkpoint is None and job.progress:
        job.progress = 0.0
        job.save(update_fields=["progress"])
    Attempt.objects.create(
        job=job,
        number=job.attempt,
        worker=worker,
        claim_key=key,
        resumed_from=step,
        progress_before=job.progress,
        started_at=now,
    )
    if job.attempt > 1:
        # What the former attempt did beyond its last checkpoint is done again; its points must not mix with the new.
        series.drop_points_beyond(job.pk, -1 if step is None else step)
    return job


def _tell_leader(job: Job) -> None:
    """The attempt of a training on several machines names all of them."""
    if job.leader_id and job.leader_attempt:
        named = Left(Concat("worker", Value(f" + {job.worker}")), _NAME_LENGTH)
        Attempt.objects.filter(job=job.leader_id, number=job.leader_attempt).update(worker=named)


def _hand_over_lease(job: Job) -> str:
    """A new token for the attempt; the former one's opens nothing from now on."""
    if job.token is not None:
        revoke_token(job.token)
    grants = pin(view_of(job).spec, _requester(job)).grants
    token, secret = issue_token(
        name=f"job {str(job.pk)[:8]}", scope=Scope.JOB, team=job.team, subject=f"job:{job.pk}", grants=grants
    )
    job.token = token
    job.save(update_fields=["token"])
    Attempt.objects.filter(job=job, number=job.attempt).update(token=token)
    return secret


def _requester(job: Job) -> Actor:
    """The job acts with the rights that its requester has now, not those they once had."""
    if job.created_by is None and job.created_by_name == PLATFORM.name and job.kind in OWN_KINDS:
        return reader_for(view_of(job).spec)
    if job.created_by is None or not job.created_by.is_active:
        raise ForbiddenError("The person who requested this job is gone; request it again.")
    return actor_for_user(job.created_by)
