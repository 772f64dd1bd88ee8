"""Logged models: what `log_model` writes before anybody registers it. A version of ours comes of it by registration."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from steelyard_contracts.errors import ConflictError, InvalidInputError, NotFoundError
from steelyard_contracts.jobs import json_value
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.jobs.models import Job
from steelyard_platform.mlflow.experiments import project_for_run, visible_experiments
from steelyard_platform.mlflow.http import Asked
from steelyard_platform.mlflow.models import Experiment, LoggedModel
from steelyard_platform.repos.models import Blob, Repository

PENDING, READY, FAILED = "LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"
STATUSES = {"1": PENDING, "2": READY, "3": FAILED, PENDING: PENDING, READY: READY, FAILED: FAILED}
_IMPORTED = UUID("0f2f9d5c-5a6e-5d0c-8f0c-5b0f5c9a7c11")  # in which the ids of imported models are made
_MOST_METRICS, _MOST_PAIRS = 10_000, 1000
_IDENTITY = ("key", "timestamp", "step", "run_id", "dataset_name", "dataset_digest")


def visible_models(actor: Actor) -> QuerySet[LoggedModel]:
    rows = LoggedModel.objects.filter(experiment__in=visible_experiments(actor).order_by().values("pk"))
    return rows.select_related("experiment__team", "experiment__project__team")


def find_logged_model(model_id: str, actor: Actor) -> LoggedModel:
    """Raises: NotFoundError, also for a stranger's."""
    found = None
    with contextlib.suppress(ValueError):  # no model has such an id
        found = visible_models(actor).filter(pk=UUID(model_id.removeprefix("m-"))).first()
    if found is None:
        raise NotFoundError(f"Logged model with ID '{model_id}' not found, or you may not read it.", model=model_id)
    return found


def project_of(model: LoggedModel) -> Repository:
    project = model.experiment.project
    assert project is not None  # noqa: S101 - a model is logged into a project
    return project


@transaction.atomic
def create_logged_model(*, experiment: Experiment, asked: Asked, actor: Actor) -> LoggedModel:
    """One that an import brings has a `key`, by which it is made once, and the day on which it was made there.

    Raises: ForbiddenError; ConflictError in a deleted experiment.
    """
    project = project_for_run(experiment, actor)
    demand(actor, Action.WRITE, project.resource)
    key = asked.text("key")
    made, is_new = LoggedModel.objects.get_or_create(
        pk=uuid5(_IMPORTED, f"{experiment.pk}|{key}") if key else uuid4(),
        defaults={
            "experiment": experiment,
            "name": asked.text("name")[:500] or f"model-{secrets.token_hex(4)}",
            "model_type": asked.text("model_type")[:500],
            "source_run_id": asked.text("source_run_id")[:64],
            "status": PENDING,
            "tags": _bounded(asked.pairs("tags")),
            "params": _bounded(asked.pairs("params")),
            "created_at": _day_of(asked) if key else timezone.now(),
        },
    )
    if is_new:
        audit.record(actor, "log model", project.full_name, model=made.model_id, name=made.name)
    return made


def _day_of(asked: Asked) -> datetime:
    """On which it was made elsewhere; now where nothing, or a day to come, is said."""
    now, there = timezone.now(), asked.whole("creation_timestamp_ms", 0) / 1000
    return datetime.fromtimestamp(there, UTC) if 0 < there < now.timestamp() else now


@transaction.atomic
def finalize(*, model: LoggedModel, status: str, actor: Actor) -> LoggedModel:
    """Raises: InvalidInputError, ForbiddenError."""
    if status not in STATUSES:
        raise InvalidInputError(f"{status!r} is no status of a logged model: {READY} or {FAILED}.", parameter="status")
    return _change(model, actor, status=STATUSES[status])


@transaction.atomic
def set_pairs(
    *, model: LoggedModel, actor: Actor, tags: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
) -> LoggedModel:
    """Raises: InvalidInputError for a param that has another value already; ForbiddenError."""
    row = LoggedModel.objects.select_for_update().get(pk=model.pk)
    for key, value in (params or {}).items():
        if row.params.get(key, value) != value:
            raise InvalidInputError(f"Changing param values is not allowed: {key!r} is {row.params[key]!r} already.")
    values: dict[str, Any] = {}
    if tags:
        values["tags"] = _bounded({**row.tags, **tags})
    if params:
        values["params"] = _bounded({**row.params, **params})
    return _change(model, actor, **values)


@transaction.atomic
def delete_tag(*, model: LoggedModel, key: str, actor: Actor) -> None:
    """Raises: NotFoundError, ForbiddenError."""
    row = LoggedModel.objects.select_for_update().get(pk=model.pk)
    if key not in row.tags:
        raise NotFoundError(f"No tag with key {key!r} found for model with ID {model.model_id!r}.", key=key)
    _change(model, actor, tags={name: value for name, value in row.tags.items() if name != key})


@transaction.atomic
def delete_logged_model(*, model: LoggedModel, actor: Actor) -> None:
    """With its files; versions that were made of it keep theirs. Raises: ForbiddenError."""
    project = project_of(model)
    demand(actor, Action.WRITE, project.resource)
    Blob.objects.filter(pk__in=model.files.values("blob")).update(touched_at=timezone.now())
    audit.record(actor, "delete logged model", project.full_name, model=model.model_id, name=model.name)
    model.delete()


def note_metrics(*, run: Job, metrics: Sequence[Asked], actor: Actor) -> None:
    """Keeps with a logged model what was measured of it; one that is not there is no reason to lose the point."""
    by_model: dict[str, list[dict[str, Any]]] = {}
    for one in metrics:
        if model_id := one.text("model_id"):
            by_model.setdefault(model_id, []).append(_measure(one, run, model_id))
    for model_id, measured in by_model.items():
        _add_metrics(find_logged_model(model_id, actor), measured, actor)


def _measure(one: Asked, run: Job, model_id: str) -> dict[str, Any]:
    told = {name: one.text(name) for name in ("dataset_name", "dataset_digest") if one.text(name)}
    return {
        "key": one.needed("key"),
        "value": json_value(one.number("value")),
        "timestamp": one.whole("timestamp"),
        "step": one.whole("step", 0),
        "model_id": model_id,
        "run_id": run.pk.hex,
        **told,
    }


@transaction.atomic
def _add_metrics(model: LoggedModel, measured: list[dict[str, Any]], actor: Actor) -> None:
    demand(actor, Action.WRITE, project_of(model).resource)
    row = LoggedModel.objects.select_for_update().get(pk=model.pk)
    known = {tuple(one.get(name) for name in _IDENTITY): one for one in row.metrics}
    known |= {tuple(one.get(name) for name in _IDENTITY): one for one in measured}
    if len(known) > _MOST_METRICS:
        raise ConflictError(
            f"{model.model_id} has {_MOST_METRICS} metrics, as many as are kept; log them with the run."
        )
    LoggedModel.objects.filter(pk=row.pk).update(metrics=list(known.values()), updated_at=timezone.now())


def _change(model: LoggedModel, actor: Actor, **values: Any) -> LoggedModel:
    project = project_of(model)
    demand(actor, Action.WRITE, project.resource)
    LoggedModel.objects.filter(pk=model.pk).update(**values, updated_at=timezone.now())
    audit.record(actor, "change logged model", project.full_name, model=model.model_id, changed=sorted(values))
    model.refresh_from_db()
    return model


def _bounded(pairs: Mapping[str, str]) -> dict[str, str]:
    if len(pairs) > _MOST_PAIRS:
        raise InvalidInputError(f"At most {_MOST_PAIRS} tags or params; these are {len(pairs)}.")
    return dict(pairs)
