"""The job protocol. Every write by a worker is fenced by the lease's token: who lost the lease writes nothing.

request_job -> claim_job -> heartbeat, write metrics, save_checkpoint -> finish_job
                 ^                                            |
                 '--- requeue_lost_jobs <--- lease expired ---'
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from steelyard_contracts.digests import checked
from steelyard_contracts.errors import ConflictError, ForbiddenError, LeaseLostError, NotFoundError, SteelyardError
from steelyard_contracts.jobs import (
    CheckpointOffer,
    CheckpointView,
    Claim,
    CommittedVersion,
    Finish,
    Heartbeat,
    HeartbeatAnswer,
    JobSpec,
    JobState,
    JobView,
    LogLine,
    MetricPoint,
)
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import PLATFORM, Action, Actor, Scope, demand, may
from steelyard_platform.accounts.tokens import actor_for_user, issue_token, revoke_token
from steelyard_platform.jobs import doorbell, series
from steelyard_platform.jobs.models import Checkpoint, Job
from steelyard_platform.jobs.specs import OWN_KINDS, Pinned, pin, reader_for
from steelyard_platform.repos.commits import versions_of_job
from steelyard_platform.storage.services import object_store

_HEARTBEATS_PER_LEASE = 4
_RING_AGAIN_AFTER = timedelta(seconds=60)
_CHECKPOINT_UPLOAD_SECONDS = 3600


def request_job(*, spec: JobSpec, actor: Actor) -> Job:
    """Checks everything that can be known now, pins the references and queues the job.

    Raises: the errors of `specs.pin`, and ForbiddenError.
    """
    pinned = pin(spec, actor)
    demand(actor, Action.RUN_JOBS, pinned.home.resource)
    return _queue(pinned, actor)


def request_own_job(*, spec: JobSpec) -> Job:
    """What the platform asks for of its own accord; such a job reads the models that its spec names.

    Raises: the errors of `specs.pin`.
    """
    return _queue(pin(spec, reader_for(spec)), PLATFORM)


def _queue(pinned: Pinned, actor: Actor) -> Job:
    with transaction.atomic():
        job = Job.objects.create(
            team=pinned.home.team,
            kind=pinned.spec.kind,
            spec=pinned.spec.model_dump(mode="json"),
            created_by_id=actor.user_id or None,
            created_by_name=actor.name,
            repository=pinned.home.pk,
            message="waiting for a worker",
        )
        audit.record(actor, "request job", pinned.home.full_name, job=str(job.pk), kind=job.kind)
        doorbell.ring_after_commit(job.pk)
    return job


def claim_job(*, job_id: UUID, worker: str, actor: Actor) -> Claim:
    """One conditional update decides who gets it; a message delivered five times still runs once.

    Raises:
        ForbiddenError: not a worker's token.
        ConflictError: somebody else has it, or it has ended.
    """
    if actor.scope is not Scope.WORKER:
        raise ForbiddenError("Jobs are claimed with a worker's token.")
    try:
        with transaction.atomic():
            job, secret = _take(job_id, worker)
    except ConflictError:
        raise
    except SteelyardError as error:
        # What it names is gone, or its requester may no longer use it: trying again would find the same.
        ended = {"state": JobState.FAILED, "finished_at": timezone.now(), "error": str(error), "message": ""}
        Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(**ended)
        raise ConflictError(f"This job cannot be done any more: {error}", job=str(job_id)) from error
    committed = [
        CommittedVersion(repository=one.repository.full_name, version=one.label, branch=one.branch.name)
        for one in versions_of_job(job.pk)
    ]
    return Claim(
        id=job.pk,
        attempt=job.attempt,
        spec=view_of(job).spec,
        token=secret,
        lease_seconds=int(_lease().total_seconds()),
        heartbeat_seconds=_lease().total_seconds() / _HEARTBEATS_PER_LEASE,
        checkpoint=checkpoint_of(job),
        committed=committed,
    )


def _take(job_id: UUID, worker: str) -> tuple[Job, str]:
    """The job, now running, and its token. Raises: ConflictError when it is not free."""
    now = timezone.now()
    free = Q(state=JobState.QUEUED) | Q(state=JobState.RUNNING, lease_expires_at__lt=now)
    claimed = Job.objects.filter(free, pk=job_id, cancel_requested_at=None, attempt__lt=_max_attempts()).update(
        state=JobState.RUNNING,
        attempt=F("attempt") + 1,
        worker=worker,
        lease_expires_at=now + _lease(),
        started_at=now,
        message="starting",
    )
    if not claimed:
        raise ConflictError("This job is claimed by another worker, or has ended.", job=str(job_id))
    job = Job.objects.select_related("team", "token").get(pk=job_id)
    return job, _hand_over_lease(job)


def _hand_over_lease(job: Job) -> str:
    """A new token for the new attempt; the former attempt's opens nothing from now on."""
    if job.token is not None:
        revoke_token(job.token)
    grants = pin(view_of(job).spec, _requester(job)).grants
    token, secret = issue_token(
        name=f"job {str(job.pk)[:8]}", scope=Scope.JOB, team=job.team, subject=f"job:{job.pk}", grants=grants
    )
    job.token = token
    job.save(update_fields=["token"])
    return secret


def _requester(job: Job) -> Actor:
    """The job acts with the rights that its requester has now, not those they once had."""
    if job.created_by is None and job.created_by_name == PLATFORM.name and job.kind in OWN_KINDS:
        return reader_for(view_of(job).spec)
    if job.created_by is None or not job.created_by.is_active:
        raise ForbiddenError("The person who requested this job is gone; request it again.")
    return actor_for_user(job.created_by)


def held_job(job_id: UUID, actor: Actor, *, lock: bool = False) -> Job:
    """The job, if the actor's token is its lease; with `lock`, for the rest of the transaction.

    Raises: LeaseLostError.
    """
    jobs = Job.objects.select_for_update(of=("self",)) if lock else Job.objects.all()
    job = jobs.select_related("team").filter(pk=job_id).first()
    if job is None or actor.subject_id("job") != job_id or job.token_id != actor.token_id:
        raise LeaseLostError("This token is not, or no longer, the lease of that job.")
    if job.state != JobState.RUNNING:
        raise LeaseLostError(f"The job is {job.state}; nothing more can be written to it.")
    return job


def heartbeat(*, job_id: UUID, actor: Actor, beat: Heartbeat) -> HeartbeatAnswer:
    """Renews the lease and says whether to stop. Raises: LeaseLostError."""
    job = held_job(job_id, actor)
    changes: dict[str, object] = {"lease_expires_at": timezone.now() + _lease()}
    if beat.progress is not None:
        changes["progress"] = beat.progress
    if beat.message is not None:
        changes["message"] = beat.message
    if not Job.objects.filter(pk=job.pk, token_id=actor.token_id, state=JobState.RUNNING).update(**changes):
        raise LeaseLostError("The lease has ended.")
    return HeartbeatAnswer(cancel=job.cancel_requested_at is not None, lease_seconds=int(_lease().total_seconds()))


@transaction.atomic
def write_metrics(*, job_id: UUID, actor: Actor, points: Sequence[MetricPoint]) -> None:
    """Raises: LeaseLostError."""
    held_job(job_id, actor, lock=True)
    series.write_points(job_id, points)


@transaction.atomic
def write_log(*, job_id: UUID, actor: Actor, lines: Sequence[LogLine]) -> None:
    """Raises: LeaseLostError."""
    job = held_job(job_id, actor, lock=True)
    series.write_lines(job_id, job.attempt, lines)


def offer_checkpoint(*, job_id: UUID, actor: Actor, offer: CheckpointOffer) -> str:
    """An address to PUT the checkpoint to. Raises: LeaseLostError."""
    job = held_job(job_id, actor)
    key = _checkpoint_key(job, offer)
    values = {
        "job": job,
        "step": offer.step,
        "size": offer.size,
        "sha256": offer.sha256,
        "is_complete": False,
    }
    Checkpoint.objects.update_or_create(object_key=key, defaults=values)
    return object_store().signed_put(key, _CHECKPOINT_UPLOAD_SECONDS)


def save_checkpoint(*, job_id: UUID, actor: Actor, offer: CheckpointOffer) -> None:
    """Checks what was uploaded, makes it the one to resume from, and drops the older ones.

    Raises: LeaseLostError, DigestMismatchError.
    """
    job = held_job(job_id, actor)
    key, store = _checkpoint_key(job, offer), object_store()
    for _ in checked(store.read(key), sha256=offer.sha256, size=offer.size, what="The checkpoint"):
        pass
    with transaction.atomic():
        held_job(job_id, actor, lock=True)
        Checkpoint.objects.filter(object_key=key).update(is_complete=True)
    _drop_checkpoints(Checkpoint.objects.filter(job=job, step__lt=offer.step))


def read_checkpoint(*, job_id: UUID, actor: Actor) -> Iterator[bytes]:
    """The bytes to resume from. Raises: LeaseLostError, NotFoundError."""
    job = held_job(job_id, actor)
    found = _newest_checkpoint(job)
    if found is None:
        raise NotFoundError("The job has no checkpoint yet.")
    return object_store().read(found.object_key)


def finish_job(*, job_id: UUID, actor: Actor, finish: Finish) -> Job:
    """Ends the job, once; a failure that may pass is queued again. Raises: LeaseLostError."""
    job = held_job(job_id, actor)
    may_pass = finish.released or (finish.retryable and job.attempt < _max_attempts())
    again = finish.state is JobState.FAILED and may_pass and job.cancel_requested_at is None
    with transaction.atomic():
        ended = Job.objects.filter(pk=job.pk, token_id=actor.token_id, state=JobState.RUNNING)
        if again:
            changed = ended.update(
                state=JobState.QUEUED,
                message=f"again after: {finish.error}"[:500],
                token=None,
                attempt=F("attempt") - (1 if finish.released else 0),
            )
        else:
            changed = ended.update(
                state=finish.state,
                finished_at=timezone.now(),
                result=finish.result,
                error=finish.error or "",
                progress=1 if finish.state is JobState.SUCCEEDED else F("progress"),
                message="",
            )
        if not changed:
            raise LeaseLostError("The lease has ended.")
        if job.token is not None:
            revoke_token(job.token)
        audit.record(actor, "finish job", str(job.pk), state=finish.state, again=again)
        if again:
            doorbell.ring_after_commit(job.pk)
    if not again:
        _drop_checkpoints(Checkpoint.objects.filter(job=job))
    return Job.objects.get(pk=job.pk)


def cancel_job(*, job: Job, actor: Actor) -> Job:
    """A queued job ends now; a running one is told at its next heartbeat. Raises: ForbiddenError, ConflictError."""
    demand(actor, Action.RUN_JOBS, job.team.resource)
    now = timezone.now()
    with transaction.atomic():
        queued = Job.objects.filter(pk=job.pk, state=JobState.QUEUED)
        ended = queued.update(state=JobState.CANCELLED, cancel_requested_at=now, finished_at=now, message="cancelled")
        running = Job.objects.filter(pk=job.pk, state=JobState.RUNNING)
        if not ended and not running.update(cancel_requested_at=now, message="cancelling"):
            state = Job.objects.get(pk=job.pk).state
            raise ConflictError(f"The job is {state} already.", state=state)
        audit.record(actor, "cancel job", str(job.pk))
    return Job.objects.select_related("team").get(pk=job.pk)


def requeue_lost_jobs() -> int:
    """Leases that ended: queued again, or lost when the attempts are used up. Returns how many."""
    now = timezone.now()
    # Cancelled in the moment it was queued again: nobody would ever claim it.
    stuck = Job.objects.filter(state=JobState.QUEUED, cancel_requested_at__isnull=False)
    stuck.update(state=JobState.CANCELLED, finished_at=now, message="cancelled")
    expired = Job.objects.select_related("token").filter(state=JobState.RUNNING, lease_expires_at__lt=now)
    count = 0
    for job in expired[:100]:
        with transaction.atomic():
            still = Job.objects.filter(pk=job.pk, state=JobState.RUNNING, lease_expires_at__lt=now)
            if not still.update(**_after_loss(job)):
                continue
            if job.token is not None:
                revoke_token(job.token)
            audit.record(PLATFORM, "take back job", str(job.pk), worker=job.worker, attempt=job.attempt)
            goes_on = job.cancel_requested_at is None and job.attempt < _max_attempts()
            if goes_on:
                doorbell.ring_after_commit(job.pk)
        if not goes_on:
            _drop_checkpoints(Checkpoint.objects.filter(job=job))
        count += 1
    return count


def _after_loss(job: Job) -> dict[str, object]:
    now = timezone.now()
    if job.cancel_requested_at is not None:
        return {"state": JobState.CANCELLED, "finished_at": now, "message": "cancelled", "token": None}
    if job.attempt < _max_attempts():
        return {"state": JobState.QUEUED, "message": f"{job.worker} went silent; queued again", "token": None}
    error = f"The worker went silent {job.attempt} times, last on {job.worker}; see the log."
    return {"state": JobState.LOST, "finished_at": now, "error": error, "message": "lost", "token": None}


def ring_for_waiting_jobs() -> None:
    """For messages that were lost on the way."""
    before = timezone.now() - _RING_AGAIN_AFTER
    waiting = Job.objects.filter(Q(rung_at=None) | Q(rung_at__lt=before), state=JobState.QUEUED)
    for job_id in waiting.order_by("created_at").values_list("pk", flat=True)[:100]:
        doorbell.ring(job_id)


def find_job(job_id: UUID, actor: Actor) -> Job:
    """A job whose team the actor may read. Raises: NotFoundError, also for a stranger's."""
    job = Job.objects.select_related("team").filter(pk=job_id).first()
    is_its_own = actor.subject_id("job") == job_id
    if job is None or not (is_its_own or may(actor, Action.READ, job.team.resource)):
        raise NotFoundError(f"There is no job {job_id}, or you may not see it.", job=str(job_id))
    return job


def asked_for() -> models.QuerySet[Job]:
    """The jobs that people asked for; what the platform does of its own accord is left out."""
    return Job.objects.exclude(kind__in=OWN_KINDS)


def view_of(job: Job) -> JobView:
    return JobView.model_validate(
        {
            "id": job.pk,
            "kind": job.kind,
            "state": job.state,
            "team": job.team.name,
            "spec": job.spec,
            "attempt": job.attempt,
            "progress": job.progress,
            "message": job.message,
            "created_by": job.created_by_name,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "cancel_requested": job.cancel_requested_at is not None,
            "result": job.result,
            "error": job.error or None,
        }
    )


def checkpoint_of(job: Job) -> CheckpointView | None:
    found = _newest_checkpoint(job)
    return CheckpointView(step=found.step, size=found.size, sha256=found.sha256) if found else None


def _newest_checkpoint(job: Job) -> Checkpoint | None:
    return Checkpoint.objects.filter(job=job, is_complete=True).order_by("-step").first()


def _checkpoint_key(job: Job, offer: CheckpointOffer) -> str:
    return f"checkpoints/{job.pk.hex}/{offer.step}-{offer.sha256[:16]}"


def _drop_checkpoints(checkpoints: models.QuerySet[Checkpoint]) -> None:
    for checkpoint in checkpoints:
        object_store().delete(checkpoint.object_key)
        checkpoint.delete()


def _lease() -> timedelta:
    return timedelta(seconds=settings.ENVIRONMENT.lease_seconds)


def _max_attempts() -> int:
    return int(settings.ENVIRONMENT.max_attempts)
