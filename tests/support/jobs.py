"""Workers without a process: they claim, and time passes."""

from __future__ import annotations

from datetime import timedelta

import time_machine
from django.conf import settings
from django.utils import timezone

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.jobs import CheckpointOffer, Claim
from steelyard_platform.accounts.permissions import Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_secret
from steelyard_platform.jobs import services
from steelyard_platform.jobs.checkpoints import checkpoint_key
from steelyard_platform.jobs.models import Job
from steelyard_platform.storage.services import object_store

WORKER = Actor(name="worker", scope=Scope.WORKER)


def claim(job: Job) -> tuple[Claim, Actor]:
    """What a worker gets, and whom its token speaks for."""
    found = services.claim_job(job_id=job.pk, worker="host:1", actor=WORKER)
    return found, actor_for_secret(found.token)


def later(seconds: float) -> time_machine.travel:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=True)


def after_the_lease() -> time_machine.travel:
    return later(settings.ENVIRONMENT.lease_seconds + 1)


def save_checkpoint(job: Job, actor: Actor, step: int, data: bytes = b"optimizer state") -> CheckpointOffer:
    """Offered, uploaded and checked."""
    offer = CheckpointOffer(step=step, size=len(data), sha256=sha256_of(data))
    services.offer_checkpoint(job_id=job.pk, actor=actor, offer=offer)
    object_store().put(checkpoint_key(job, offer), [data])
    services.save_checkpoint(job_id=job.pk, actor=actor, offer=offer)
    return offer
