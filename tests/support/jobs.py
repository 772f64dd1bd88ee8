"""Workers without a process: they claim, and time passes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import time_machine
from django.conf import settings
from django.utils import timezone

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.jobs import CheckpointOffer, Claim
from steelyard_contracts.workers import Capabilities, Registration, WorkerPlace
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_secret, issue_token
from steelyard_platform.jobs import services, workers
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


def worker_of(
    team: Team | None = None, name: str = "bench", capabilities: Capabilities | None = None, **has: Any
) -> tuple[Actor, WorkerPlace]:
    """(the worker's actor, its place): with a token of the team's, or of the installation's."""
    _, secret = issue_token(name=name, scope=Scope.WORKER, team=team)
    actor = actor_for_secret(secret)
    described = capabilities or Capabilities(memory_gb=16, **has)
    registration = Registration(name=name, host="bench.example", capabilities=described)
    return actor, workers.register_worker(registration=registration, actor=actor)


def claim_at(job: Job, worker: tuple[Actor, WorkerPlace]) -> tuple[Claim, Actor]:
    """As `claim`, by a worker that has registered."""
    actor, place = worker
    found = services.claim_job(job_id=job.pk, worker=place.name, worker_id=place.id, actor=actor)
    return found, actor_for_secret(found.token)


def after_the_lease() -> time_machine.travel:
    return later(settings.ENVIRONMENT.lease_seconds + 1)


def save_checkpoint(job: Job, actor: Actor, step: int, data: bytes = b"optimizer state") -> CheckpointOffer:
    """Offered, uploaded and checked."""
    offer = CheckpointOffer(step=step, size=len(data), sha256=sha256_of(data))
    services.offer_checkpoint(job_id=job.pk, actor=actor, offer=offer)
    object_store().put(checkpoint_key(job, offer), [data])
    services.save_checkpoint(job_id=job.pk, actor=actor, offer=offer)
    return offer
