"""Runs, as MLflow writes them: every word goes to `jobs.tracking`. What MLflow alone has is in `RunNote`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from steelyard_contracts.errors import ConflictError, InvalidInputError, NotFoundError
from steelyard_contracts.jobs import JobState, MetricPoint
from steelyard_contracts.run_specs import MOST_TAGS
from steelyard_contracts.tracking import GitState, RunRequest, RunSource, metric_name
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.tracking.finding import project_for_writing
from steelyard_platform.mlflow.experiments import project_for_run
from steelyard_platform.mlflow.http import Asked, moment_of
from steelyard_platform.mlflow.models import Experiment, RunNote
from steelyard_platform.repos.models import Repository

RUN_NAME, USER = "mlflow.runName", "mlflow.user"
MOST_METRICS, MOST_PARAMS = 1000, 100
_LONGEST_PARAM, _LONGEST_KEY, _LONGEST_TAG = 6000, 200, 8000
_MOST_INPUTS = 1000
_STATES = {
    "RUNNING": JobState.RUNNING,
    "SCHEDULED": JobState.RUNNING,
    "FINISHED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "KILLED": JobState.CANCELLED,
}
_STATUSES = {JobState.SUCCEEDED: "FINISHED", JobState.FAILED: "FAILED", JobState.CANCELLED: "KILLED"}
_STATUS_NUMBERS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}


def status_of(run: Job) -> str:
    return _STATUSES.get(JobState(run.state), "RUNNING")


def states_of(status: str) -> list[JobState]:
    """The states that are shown as this status."""
    return [state for state in JobState if _STATUSES.get(state, "RUNNING") == status.upper()]


def find_run(run_id: str, actor: Actor, *, active: bool = False) -> Job:
    """Raises: NotFoundError; ConflictError for a deleted one where `active` is asked for."""
    try:
        run = tracking.find_run(UUID(run_id), actor)
    except (NotFoundError, ValueError) as error:
        raise NotFoundError(f"Run '{run_id}' not found, or you may not read it.", run=run_id) from error
    project = run.run.project
    if project is None or project.is_trashed:
        raise NotFoundError(f"Run '{run_id}' not found: its project was deleted.", run=run_id)
    if active and is_deleted(run):
        raise ConflictError(f"The run {run_id} must be in the 'active' state. It is deleted; restore it first.")
    return run


def project_of(run: Job) -> Repository:
    """Its project, which is there: `find_run` has looked."""
    project: Repository | None = run.run.project
    assert project is not None  # noqa: S101 - see above
    return project


def is_deleted(run: Job) -> bool:
    note = note_of(run)
    return note is not None and note.is_deleted


def note_of(run: Job) -> RunNote | None:
    """Without a query where the run was read with it."""
    try:
        found: RunNote = run.mlflow_note
    except RunNote.DoesNotExist:
        return None
    return found


def start_run(*, experiment: Experiment, asked: Asked, actor: Actor) -> Job:
    """Raises: ForbiddenError; ConflictError in a deleted experiment."""
    tags = _checked_tags(asked.pairs("tags"))
    if user := asked.text("user_id"):
        tags.setdefault(USER, user)
    name = asked.text("run_name") or tags.get(RUN_NAME) or None
    began = asked.whole("start_time", 0)
    request = RunRequest(
        project=project_for_run(experiment, actor).full_name,
        name=name,
        source=RunSource.MLFLOW,
        environment={key.removeprefix("mlflow."): value for key, value in tags.items() if key.startswith("mlflow.so")},
        git=_git(tags),
        started_at=moment_of(began) if began > 0 else None,
        tags=tags | ({RUN_NAME: name} if name else {}),
    )
    return tracking.start_run(request=request, actor=actor)


def _git(tags: Mapping[str, str]) -> GitState | None:
    commit = tags.get("mlflow.source.git.commit", "")
    if not commit:
        return None
    branch, remote = tags.get("mlflow.source.git.branch", ""), tags.get("mlflow.source.git.repoURL", "")
    return GitState(commit=commit[:64], branch=branch[:250], remote=remote[:1000])


def update_run(*, run: Job, asked: Asked, actor: Actor) -> Job:
    """A new status, end or name. A run that ended and is said to run goes on. Raises: InvalidInputError."""
    name, status = asked.text("run_name"), _status(asked)
    if name:
        run = tracking.update_run(run=run, name=name, tags={RUN_NAME: name}, actor=actor)
    if status is None:
        return run
    state = _STATES[status]
    if state is not JobState.RUNNING:
        ended = asked.whole("end_time", 0)
        return tracking.finish_run(run=run, state=state, at=moment_of(ended) if ended > 0 else None, actor=actor)
    return tracking.resume_run(run=run, actor=actor) if JobState(run.state).is_final else run


def _status(asked: Asked) -> str | None:
    if "status" not in asked:
        return None
    try:
        status = asked.text("status").upper()
    except InvalidInputError:  # an enumeration may travel as its number
        status = str(asked.whole("status"))
    status = _STATUS_NUMBERS.get(status, status)
    if status not in _STATES:
        raise InvalidInputError(f"{status!r} is no status of a run: {', '.join(_STATES)}.", parameter="status")
    return status


def log(
    *,
    run: Job,
    actor: Actor,
    metrics: Sequence[Asked] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str | None] | None = None,
) -> None:
    """All of it or none. Raises: InvalidInputError; ForbiddenError."""
    points, renamed = _points(metrics)
    config = _checked_params(run, params or {})
    wanted = _checked_tags(tags or {})
    with transaction.atomic():
        if config or wanted:
            tracking.update_run(run=run, config=config, tags=wanted, name=wanted.get(RUN_NAME) or None, actor=actor)
        if points:
            tracking.write_points(run=run, points=points, actor=actor)
        if renamed:
            _note_names(run, renamed)


def _points(metrics: Sequence[Asked]) -> tuple[list[MetricPoint], dict[str, str]]:
    """The points, and what the metrics were called whose names are written otherwise here."""
    if len(metrics) > MOST_METRICS:
        raise InvalidInputError(f"A batch has at most {MOST_METRICS} metrics; this one has {len(metrics)}.")
    points, renamed = [], {}
    for one in metrics:
        key, step, at = one.needed("key"), one.whole("step", 0), one.whole("timestamp")
        if step < 0:
            raise InvalidInputError(f"Steps are counted from 0 here; the metric {key!r} has the step {step}.")
        name = metric_name(key)
        if name != key:
            renamed[name] = key
        value = one.number("value")
        points.append(MetricPoint.model_construct(name=name, step=step, value=value, timestamp=max(at, 0)))
    return points, renamed


def _note_names(run: Job, renamed: Mapping[str, str]) -> None:
    note, _ = RunNote.objects.get_or_create(job=run)
    if not renamed.items() <= note.metric_names.items():
        note.metric_names = {**note.metric_names, **renamed}
        note.save(update_fields=["metric_names"])


def _checked_params(run: Job, params: Mapping[str, str]) -> dict[str, str]:
    """Those that are new. Raises: InvalidInputError for one that has another value already."""
    if len(params) > MOST_PARAMS:
        raise InvalidInputError(f"A batch has at most {MOST_PARAMS} params; this one has {len(params)}.")
    known = params_of(run)
    for key, value in params.items():
        if len(key) > _LONGEST_KEY or len(value) > _LONGEST_PARAM:
            raise InvalidInputError(
                f"A param's key has at most {_LONGEST_KEY} letters, its value {_LONGEST_PARAM}; {key[:60]!r} has more."
            )
        if key in known and known[key] != value:
            raise InvalidInputError(
                f"Changing param values is not allowed. The param {key!r} was already logged with the value "
                f"{known[key][:200]!r}; log the new one under another key.",
                key=key,
            )
    return {key: value for key, value in params.items() if key not in known}


def _checked_tags(tags: Mapping[str, Any]) -> dict[str, Any]:
    for key in tags:
        if not key or len(key) > _LONGEST_KEY:
            raise InvalidInputError(f"A tag's key has 1 to {_LONGEST_KEY} letters; {key[:60]!r} has {len(key)}.")
    if len(tags) > MOST_TAGS:
        raise InvalidInputError(f"At most {MOST_TAGS} tags; these are {len(tags)}.")
    return {key: value if value is None else value[:_LONGEST_TAG] for key, value in tags.items()}


def params_of(run: Job) -> dict[str, str]:
    """The configuration, as texts."""
    config: dict[str, Any] = run.spec.get("config") or {}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


def delete_tag(*, run: Job, key: str, actor: Actor) -> None:
    """Raises: NotFoundError."""
    if key not in run.run.tags:
        raise NotFoundError(f"No tag with name: {key} in run with id {run.pk.hex}.", key=key)
    tracking.update_run(run=run, tags={key: None}, actor=actor)


@transaction.atomic
def set_deleted(*, run: Job, deleted: bool, actor: Actor) -> None:
    """MLflow hides a deleted run and can bring it back; its page and its points stay. Raises: ForbiddenError."""
    project = project_for_writing(run, actor)
    RunNote.objects.update_or_create(job=run, defaults={"is_deleted": deleted})
    audit.record(actor, "hide run" if deleted else "show run", project.full_name, job=str(run.pk))


@transaction.atomic
def note_inputs(*, run: Job, asked: Asked, actor: Actor) -> None:
    """Datasets and models that the run has read; each dataset once, by its name and digest."""
    project = project_for_writing(run, actor)
    note, _ = RunNote.objects.select_for_update().get_or_create(job=run)
    known = {(one["dataset"]["name"], one["dataset"]["digest"]): one for one in note.inputs}
    for one in asked.items("datasets"):
        dataset = Asked(one.object("dataset"), inside="dataset.")
        fields = ("name", "digest", "source_type", "source", "schema", "profile")
        told = {field: dataset.text(field) for field in fields if field in dataset}
        told |= {"name": dataset.needed("name"), "digest": dataset.needed("digest")}
        tags = [{"key": key, "value": value} for key, value in one.pairs("tags").items()]
        known[told["name"], told["digest"]] = {"dataset": told, "tags": tags}
    note.inputs = list(known.values())
    note.models_read = _with_models(note.models_read, asked, step=False)
    note.save(update_fields=["inputs", "models_read"])
    audit.record(actor, "log inputs", project.full_name, job=str(run.pk), datasets=len(note.inputs))


@transaction.atomic
def note_outputs(*, run: Job, asked: Asked, actor: Actor) -> None:
    """Logged models that the run has made."""
    project = project_for_writing(run, actor)
    note, _ = RunNote.objects.select_for_update().get_or_create(job=run)
    note.models_made = _with_models(note.models_made, asked, step=True)
    note.save(update_fields=["models_made"])
    audit.record(actor, "log outputs", project.full_name, job=str(run.pk), models=len(note.models_made))


def _with_models(known: list[dict[str, Any]], asked: Asked, *, step: bool) -> list[dict[str, Any]]:
    by_id = {one["model_id"]: one for one in known}
    for one in asked.items("models"):
        key = one.needed("model_id")
        by_id[key] = {"model_id": key, **({"step": one.whole("step", 0)} if step else {})}
    if len(by_id) > _MOST_INPUTS:
        raise InvalidInputError(f"A run names at most {_MOST_INPUTS} models.")
    return list(by_id.values())
