"""A run begins, or goes on after its end."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone

from steelyard_contracts.errors import AlreadyExistsError, InvalidReferenceError, RepositoryNotFoundError
from steelyard_contracts.jobs import AttemptEnd, JobState
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_contracts.run_specs import LONGEST_NAME
from steelyard_contracts.tracking import RunRequest, RunSpec, run_name
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.accounts.services import team_named
from steelyard_platform.jobs.models import Attempt, Job, TrackedRun
from steelyard_platform.jobs.run_facts import RUN, WITH_RUN
from steelyard_platform.jobs.specs import pin_run
from steelyard_platform.jobs.tracking.finding import locked, project_for_writing
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.services import create_repository

_NUMBERED = re.compile(r"-(\d{1,9})")


def start_run(*, request: RunRequest, actor: Actor) -> Job:
    """The run, at work. Its project is made if it is not there and the actor may; its inputs are pinned to versions.

    Raises: InvalidReferenceError, ForbiddenError; the errors of looking up its datasets and its base.
    """
    project = _project(request.project, actor)
    spec = pin_run(RunSpec(config=request.config, datasets=request.datasets, base=request.base), actor)
    with transaction.atomic():
        lock_repository(project.pk)
        if (known := _started_with(project, request.key)) is not None:
            return known
        job = _create(project, request, spec, actor)
        audit.record(actor, "start run", project.full_name, job=str(job.pk), name=job.run.name, source=request.source)
    return job


def resume_run(*, run: Job, actor: Actor, key: UUID | None = None, host: str = "") -> Job:
    """The run goes on under its id: a new attempt, whose points take the place of those at the same steps.

    One that has not ended goes on too, as when its program was killed and started again.

    Args:
        run: as `find_run` finds it.
        actor: may write to the project.
        key: of this resume; said again, it is the same attempt.
        host: where it trains, for people to read; as before, when empty.

    Raises: RepositoryNotFoundError, ForbiddenError.
    """
    project = project_for_writing(run, actor)
    with transaction.atomic():
        job, now = locked(run), timezone.now()
        if key is not None and Attempt.objects.filter(job=job, number=job.attempt, claim_key=key).exists():
            return job
        Attempt.objects.filter(job=job, number=job.attempt, ended_at=None).update(
            ended_at=now, ending=AttemptEnd.LOST, why="it was started again"
        )
        job.state, job.attempt = JobState.RUNNING, job.attempt + 1
        job.finished_at = job.cancel_requested_at = job.stop_requested_at = None
        job.error = job.message = ""
        job.worker = host or job.worker
        job.save()
        _begin_attempt(job, key, now)
        audit.record(actor, "resume run", project.full_name, job=str(job.pk), attempt=job.attempt)
    return job


def _create(project: Repository, request: RunRequest, spec: RunSpec, actor: Actor) -> Job:
    now = timezone.now()
    began = min(request.started_at or now, now)
    job = Job(
        id=uuid4(),
        team=project.team,
        kind=RUN,
        spec=spec.model_dump(mode="json"),
        state=JobState.RUNNING,
        created_by_id=actor.user_id or None,
        created_by_name=actor.name,
        started_at=began,
        attempt=1,
        worker=request.environment.get("host", "")[:200],
        repository=project.pk,
        queue="",
    )
    job.save(force_insert=True)
    Job.objects.filter(pk=job.pk).update(created_at=began)  # one that was done before stands where it belongs
    TrackedRun.objects.create(
        job=job,
        project=project,
        name=free_name(project, run_name(request.name or "") or f"run-{str(job.pk)[:8]}"),
        source=request.source,
        key=request.key,
        total_steps=request.total_steps,
        tags=request.tags,
        environment=request.environment,
        git=request.git.model_dump() if request.git else None,
        heard_at=now,
    )
    _begin_attempt(job, request.key, began)
    return Job.objects.select_related(*WITH_RUN).get(pk=job.pk)


def _begin_attempt(job: Job, key: UUID | None, now: datetime) -> None:
    Attempt.objects.create(job=job, number=job.attempt, worker=job.worker, claim_key=key, started_at=now)
    TrackedRun.objects.filter(job=job).update(heard_at=timezone.now())


def _started_with(project: Repository, key: UUID | None) -> Job | None:
    """The run of an earlier request with this key, whose answer was lost."""
    if key is None:
        return None
    return Job.objects.select_related(*WITH_RUN).filter(run__project=project, run__key=key).first()


def free_name(project: Repository, wanted: str, *, besides: Job | None = None) -> str:
    """`wanted`, or with the first number behind it that no run has gone beyond. The project is locked."""
    runs = TrackedRun.objects.filter(project=project)
    if besides is not None:
        runs = runs.exclude(job=besides)
    if not runs.filter(name=wanted).exists():
        return wanted
    stem = wanted[: LONGEST_NAME - 10]
    like = runs.filter(name__startswith=f"{stem}-").values_list("name", flat=True)
    numbers = [int(found[1]) for name in like.iterator() if (found := _NUMBERED.fullmatch(name[len(stem) :]))]
    return f"{stem}-{max(numbers, default=1) + 1}"


def _project(text: str, actor: Actor) -> Repository:
    """Raises: InvalidReferenceError for what names a dataset or a version; ForbiddenError."""
    ref = parse_ref(text)
    if ref.kind is not RepositoryKind.MODEL or ref.revision:
        raise InvalidReferenceError(f"A run belongs to a model repository: write team/name, not {text!r}.", text=text)
    try:
        return find_repository(actor, ref.kind, ref.repository, Action.WRITE)
    except RepositoryNotFoundError:
        return _new_project(ref, actor)


def _new_project(ref: Ref, actor: Actor) -> Repository:
    team = team_named(ref.namespace)
    # The right comes first: who may not create here learns nothing of what is there.
    demand(actor, Action.CREATE, team.resource)
    try:
        return create_repository(team=team, name=ref.name, kind=RepositoryKind.MODEL, actor=actor)
    except AlreadyExistsError:  # another run of the project was quicker by a moment
        return find_repository(actor, RepositoryKind.MODEL, ref.repository, Action.WRITE)
