r"""The life of a worker: it registers, gives signs of life, and says goodbye; people drain and forget it.

    register -> idle <-> busy -> (stopped)
                  \--no sign of life--> silent --again--> idle

A worker's token is a team's, or the installation's: it registers workers and claims jobs, and reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from steelyard_contracts.errors import ConflictError, ForbiddenError, NotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.workers import (
    Beat,
    Capabilities,
    Load,
    NextJob,
    Registration,
    WorkerPlace,
    WorkerState,
    WorkerView,
    labels_of,
)
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team, Token
from steelyard_platform.accounts.permissions import Action, Actor, Scope, demand, may
from steelyard_platform.jobs import placement
from steelyard_platform.jobs.models import Worker

_SAME_NAME = 100


# --- what a worker says ------------------------------------------------------------------------


@transaction.atomic
def register_worker(*, registration: Registration, actor: Actor) -> WorkerPlace:
    """The place of that name, or a new one; beside one that is at work under the name, the next number's.

    Raises: ForbiddenError when it is not a worker's token.
    """
    if actor.scope is not Scope.WORKER:
        raise ForbiddenError("Workers register with a worker's token: `steelyard workers token TEAM` makes one.")
    token = Token.objects.select_for_update(of=("self",)).get(pk=actor.token_id)
    worker = _free_place(token, registration.name)
    is_new = worker._state.adding  # noqa: SLF001 - Django documents _state
    worker.token, worker.host = token, registration.host
    worker.capabilities = registration.capabilities.model_dump(mode="json")
    worker.load, worker.job, worker.stopped_at = {}, None, None
    worker.last_seen_at = timezone.now()
    worker.save()
    audit.record(actor, "register worker", _target(worker), host=worker.host, new=is_new)
    return WorkerPlace(id=worker.pk, name=worker.name, beat_seconds=placement.beat_seconds())


def _free_place(token: Token, name: str) -> Worker:
    """Raises: ConflictError when a hundred of the name are at work."""
    for number in range(1, _SAME_NAME + 1):
        tried = name if number == 1 else f"{name[:90]}-{number}"
        found = Worker.objects.select_for_update(of=("self",)).filter(team=token.team_id, name=tried).first()
        if found is None:
            return Worker(team_id=token.team_id, name=tried)
        if found.stopped_at is not None or placement.is_silent(found.last_seen_at):
            return found
    raise ConflictError(f"{_SAME_NAME} workers named {name} are at work; choose another with --name.", name=name)


def beat(*, worker_id: UUID, actor: Actor, sign: Beat) -> NextJob:
    """Notes the sign of life. An idle worker hears of a job that waits for it. Raises: ForbiddenError."""
    worker = placement.own_worker(worker_id, actor)
    changes = {"last_seen_at": timezone.now(), "load": sign.load.model_dump(), "stopped_at": None}
    Worker.objects.filter(pk=worker.pk).update(**changes)
    found = placement.waiting_job_for(worker) if sign.is_idle and not worker.is_draining else None
    answer = found or NextJob(again_seconds=placement.beat_seconds())
    answer.is_draining = worker.is_draining
    return answer


def leave(*, worker_id: UUID, actor: Actor) -> None:
    """A worker that stops says so, and is not taken for silent. Raises: ForbiddenError."""
    worker = placement.own_worker(worker_id, actor)
    with transaction.atomic():
        if Worker.objects.filter(pk=worker.pk, stopped_at=None).update(stopped_at=timezone.now(), job=None):
            audit.record(actor, "stop worker", _target(worker))


# --- what people say ---------------------------------------------------------------------------


@transaction.atomic
def set_draining(*, worker: Worker, is_draining: bool, actor: Actor) -> Worker:
    """A draining worker ends its job and takes no other, also after a restart, until it is told to go on.

    Raises: ForbiddenError.
    """
    _demand(actor, worker)
    worker.is_draining = is_draining
    worker.save(update_fields=["is_draining"])
    audit.record(actor, "drain worker" if is_draining else "undrain worker", _target(worker))
    return worker


@transaction.atomic
def forget_worker(*, worker: Worker, actor: Actor) -> None:
    """Takes it off the list. Raises: ForbiddenError; ConflictError while it runs."""
    _demand(actor, worker)
    if state_of(worker) not in {WorkerState.SILENT, WorkerState.STOPPED}:
        raise ConflictError(f"{worker.name} still runs; stop it first, or revoke its token.", worker=worker.name)
    audit.record(actor, "forget worker", _target(worker))
    worker.delete()


def _demand(actor: Actor, worker: Worker) -> None:
    """Raises: ForbiddenError. A worker for every team is its operator's."""
    if worker.team is not None:
        demand(actor, Action.MANAGE, worker.team.resource)
    elif not administers_installation(actor):
        raise ForbiddenError(
            f"{worker.name} does the jobs of every team; an administrator of the installation looks after it."
        )


def may_look_after(actor: Actor, worker: Worker) -> bool:
    if worker.team is None:
        return administers_installation(actor)
    return may(actor, Action.MANAGE, worker.team.resource)


def administers_installation(actor: Actor) -> bool:
    return actor.is_superuser and actor.scope in {Scope.ADMIN, Scope.SESSION}


# --- how they are shown ------------------------------------------------------------------------


def visible_workers(actor: Actor) -> models.QuerySet[Worker]:
    """Those of the teams that the actor may read, and those that work for everybody."""
    teams = [
        team.pk for team in Team.objects.filter(pk__in=list(actor.roles)) if may(actor, Action.READ, team.resource)
    ]
    if administers_installation(actor):
        mine = Q()
    elif teams:
        mine = Q(team=None) | Q(team__in=teams)
    else:
        return Worker.objects.none()
    return Worker.objects.filter(mine).select_related("team", "job__team")


def find_worker(worker_id: UUID, actor: Actor) -> Worker:
    """Raises: NotFoundError, also for another team's."""
    worker = visible_workers(actor).filter(pk=worker_id).first()
    if worker is None:
        raise NotFoundError(f"There is no worker {worker_id}, or you may not see it.", worker=str(worker_id))
    return worker


def state_of(worker: Worker) -> WorkerState:
    """Derived, so that nothing has to note that a worker went silent."""
    if worker.stopped_at is not None:
        return WorkerState.STOPPED
    if placement.is_silent(worker.last_seen_at):
        return WorkerState.SILENT
    if worker.is_draining:
        return WorkerState.DRAINING
    return WorkerState.BUSY if is_at_work(worker) else WorkerState.IDLE


def is_at_work(worker: Worker) -> bool:
    job = worker.job
    return job is not None and JobState(job.state).is_held


def views_of(workers: Sequence[Worker], actor: Actor) -> list[WorkerView]:
    """The job's id is for those who may see the job."""
    return [_view(worker, actor) for worker in workers]


def _view(worker: Worker, actor: Actor) -> WorkerView:
    has = Capabilities.model_validate(worker.capabilities)
    job = worker.job if is_at_work(worker) else None
    shown = job is not None and may(actor, Action.READ, job.team.resource)
    return WorkerView(
        id=worker.pk,
        name=worker.name,
        host=worker.host,
        team=worker.team.name if worker.team else None,
        state=state_of(worker),
        labels=sorted(labels_of(has)),
        capabilities=has,
        load=Load.model_validate(worker.load),
        job=job.pk if job is not None and shown else None,
        first_seen_at=worker.first_seen_at,
        last_seen_at=worker.last_seen_at,
    )


def _target(worker: Worker) -> str:
    return f"{worker.team.name}/{worker.name}" if worker.team else worker.name
