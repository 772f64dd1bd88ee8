"""Checkpoints: training states that the next attempt goes on from. One counts once its bytes were checked.

The newest of a job is kept, also for some days after the job has ended without success, so that it can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from steelyard_contracts.digests import checked
from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.jobs import CheckpointOffer, CheckpointView, JobState
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs.leases import held_job
from steelyard_platform.jobs.models import Checkpoint, Job
from steelyard_platform.storage.services import object_store

_UPLOAD_SECONDS = 3600
_FINAL = [state for state in JobState if state.is_final]
_DROPPED_AT_ONCE = 100


def offer_checkpoint(*, job_id: UUID, actor: Actor, offer: CheckpointOffer) -> str:
    """An address to PUT the checkpoint to. Raises: LeaseLostError."""
    job = held_job(job_id, actor)
    key = checkpoint_key(job, offer)
    # One that counts already goes on counting: these are the same bytes.
    Checkpoint.objects.get_or_create(
        object_key=key, defaults={"job": job, "step": offer.step, "size": offer.size, "sha256": offer.sha256}
    )
    return object_store().signed_put(key, _UPLOAD_SECONDS)


def save_checkpoint(*, job_id: UUID, actor: Actor, offer: CheckpointOffer) -> None:
    """Checks what was uploaded, makes it the one to resume from, and drops the older ones.

    Raises: LeaseLostError, DigestMismatchError.
    """
    job = held_job(job_id, actor)
    key, store = checkpoint_key(job, offer), object_store()
    for _ in checked(store.read(key), sha256=offer.sha256, size=offer.size, what="The checkpoint"):
        pass
    with transaction.atomic():
        held_job(job_id, actor, lock=True)
        Checkpoint.objects.filter(object_key=key).update(is_complete=True)
    _drop(Checkpoint.objects.filter(job=job, step__lt=offer.step))


def read_checkpoint(*, job_id: UUID, actor: Actor) -> Iterator[bytes]:
    """The bytes to resume from; a machine that joined a training reads its leader's.

    Raises: LeaseLostError, NotFoundError.
    """
    job = held_job(job_id, actor)
    found = _newest(job.leader or job)
    if found is None:
        raise NotFoundError("The job has no checkpoint yet.")
    return object_store().read(found.object_key)


def checkpoint_of(job: Job) -> CheckpointView | None:
    found = _newest(job)
    return CheckpointView(step=found.step, size=found.size, sha256=found.sha256) if found else None


def tidy_checkpoints(job: Job) -> None:
    """Of a job that has just ended: nothing needs what was cut short, nor any when it succeeded."""
    if not JobState(job.state).is_final:
        return
    mine = Checkpoint.objects.filter(job=job, job__state__in=_FINAL)
    _drop(mine if job.state == JobState.SUCCEEDED else mine.filter(is_complete=False))


def drop_old_checkpoints() -> int:
    """Those of jobs that ended long ago, or whose end was cut short before it tidied up. Returns how many went."""
    before = timezone.now() - timedelta(days=settings.ENVIRONMENT.checkpoint_days)
    of_ended = Checkpoint.objects.filter(job__state__in=_FINAL)
    succeeded = models.Q(job__state=JobState.SUCCEEDED) | models.Q(is_complete=False)
    return _drop(of_ended.filter(succeeded | models.Q(job__finished_at__lt=before))[:_DROPPED_AT_ONCE])


def checkpoint_key(job: Job, offer: CheckpointOffer) -> str:
    return f"checkpoints/{job.pk.hex}/{offer.step}-{offer.sha256[:16]}"


def _newest(job: Job) -> Checkpoint | None:
    return Checkpoint.objects.filter(job=job, is_complete=True).order_by("-step").first()


def _drop(checkpoints: models.QuerySet[Checkpoint]) -> int:
    """The row stops counting first and goes last: cut short anywhere, it is done again."""
    found = list(checkpoints)
    Checkpoint.objects.filter(pk__in=[one.pk for one in found]).update(is_complete=False)
    for checkpoint in found:
        object_store().delete(checkpoint.object_key)
        checkpoint.delete()
    return len(found)
