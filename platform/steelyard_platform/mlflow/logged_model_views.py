"""`logged-models/…`."""

from __future__ import annotations

import contextlib
import operator
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.mlflow import logged_models as services
from steelyard_platform.mlflow.artifacts import Place, children, serve
from steelyard_platform.mlflow.experiment_views import id_of
from steelyard_platform.mlflow.experiments import DEFAULT_ID, find_experiment
from steelyard_platform.mlflow.filters import LOGGED_MODELS, Condition, Order, parse_filter
from steelyard_platform.mlflow.http import Asked, as_pairs, face, limit_of, millis, offset_of, token_for
from steelyard_platform.mlflow.logged_models import find_logged_model
from steelyard_platform.mlflow.models import LoggedModel
from steelyard_platform.mlflow.names import own_team
from steelyard_platform.mlflow.search import ordered, where

_PAGE = 50
_COLUMNS = {
    "name": "name", "model_type": "model_type", "status": "status", "source_run_id": "source_run_id",
    "created": "created_at", "updated": "updated_at",
}  # fmt: skip
_COMPARISONS = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def record(model: LoggedModel, own: Team) -> dict[str, Any]:
    experiment_id = id_of(model.experiment, own)
    info: dict[str, Any] = {
        "model_id": model.model_id,
        "experiment_id": experiment_id,
        "name": model.name,
        "creation_timestamp_ms": millis(model.created_at),
        "last_updated_timestamp_ms": millis(model.updated_at),
        "artifact_uri": f"mlflow-artifacts:/{experiment_id}/models/{model.model_id}/artifacts",
        "status": model.status,
        "tags": as_pairs(model.tags),
    }
    if model.model_type:
        info["model_type"] = model.model_type
    if model.source_run_id:
        info["source_run_id"] = model.source_run_id
    return {"info": info, "data": {"params": as_pairs(model.params), "metrics": model.metrics}}


@face("POST")
def create(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - a view's signature
    experiment = find_experiment(actor, asked.text("experiment_id") or DEFAULT_ID)
    made = services.create_logged_model(experiment=experiment, asked=asked, actor=actor)
    return {"model": record(made, own_team(actor))}


@face("GET", "PATCH", "DELETE")
def one(request: HttpRequest, actor: Actor, asked: Asked, model_id: str) -> dict[str, Any]:
    found = find_logged_model(model_id, actor)
    match request.method:
        case "PATCH":
            found = services.finalize(model=found, status=_status(asked), actor=actor)
        case "DELETE":
            services.delete_logged_model(model=found, actor=actor)
            return {}
    return {"model": record(found, own_team(actor))}


def _status(asked: Asked) -> str:
    try:
        return asked.needed("status").upper()
    except InvalidInputError:  # an enumeration may travel as its number
        return str(asked.whole("status"))


@face("PATCH")
def set_tags(request: HttpRequest, actor: Actor, asked: Asked, model_id: str) -> dict[str, Any]:  # noqa: ARG001 - as above
    model = find_logged_model(model_id, actor)
    model = services.set_pairs(model=model, tags=asked.pairs("tags"), actor=actor)
    return {"model": record(model, own_team(actor))}


@face("DELETE")
def delete_tag(request: HttpRequest, actor: Actor, asked: Asked, model_id: str, key: str) -> dict[str, Any]:  # noqa: ARG001 - as above
    services.delete_tag(model=find_logged_model(model_id, actor), key=key, actor=actor)
    return {}


@face("POST")
def log_params(request: HttpRequest, actor: Actor, asked: Asked, model_id: str) -> dict[str, Any]:  # noqa: ARG001 - as above
    services.set_pairs(model=find_logged_model(model_id, actor), params=asked.pairs("params"), actor=actor)
    return {}


@face("GET")
def directories(request: HttpRequest, actor: Actor, asked: Asked, model_id: str) -> dict[str, Any]:  # noqa: ARG001 - as above
    model = find_logged_model(model_id, actor)
    folder = asked.text("artifact_directory_path").strip("/")
    place = Place(services.project_of(model), folder, model=model)
    files, following = children(place, after=asked.text("page_token"), named_in_full=True)
    return {"files": files, **({"next_page_token": following} if following else {})}


@face("GET")
def files(request: HttpRequest, actor: Actor, asked: Asked, model_id: str) -> HttpResponseBase:
    model = find_logged_model(model_id, actor)
    return serve(request, Place(services.project_of(model), asked.needed("artifact_file_path"), model=model), actor)


@face("POST")
def search(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    limit, offset = limit_of(asked, default=_PAGE, most=1000), offset_of(asked)
    own = own_team(actor)
    experiments = [find_experiment(actor, one).pk for one in asked.texts("experiment_ids")]
    rows = services.visible_models(actor).filter(experiment__in=experiments, experiment__is_deleted=False)
    for condition in parse_filter(asked.text("filter"), LOGGED_MODELS):
        special = {"model_id": _by_id, "metric": _by_metric}
        rows = where(rows, condition, _COLUMNS, tags="tags", params="params", special=special)
    if datasets := asked.items("datasets"):
        rows = _measured_on(rows, datasets)
    rows = ordered(rows, _orders(asked), _COLUMNS, default=("-created_at", "pk"))
    found = list(rows[offset : offset + limit + 1])
    answer: dict[str, Any] = {"models": [record(model, own) for model in found[:limit]]}
    if len(found) > limit:
        answer["next_page_token"] = token_for(offset + limit)
    return answer


def _orders(asked: Asked) -> list[Order]:
    found = []
    for one in asked.items("order_by"):
        name = one.needed("field_name")
        key = LOGGED_MODELS.attributes.get(name.removeprefix("attributes."))
        if key is None or key not in _COLUMNS:
            raise InvalidInputError(
                f"Logged models cannot be put in order by {name!r}; by {', '.join(_COLUMNS)} they can."
            )
        found.append(Order("attribute", key, descending="ascending" in one and not one.flag("ascending")))
    return found


def _by_id(rows: QuerySet[LoggedModel], condition: Condition) -> QuerySet[LoggedModel]:
    named = condition.value if isinstance(condition.value, tuple) else (str(condition.value),)
    keys = []
    for name in named:
        with contextlib.suppress(ValueError):  # no model has such an id
            keys.append(UUID(name.removeprefix("m-")))
    match condition.operator:
        case "=" | "IN":
            return rows.filter(pk__in=keys)
        case "!=" | "NOT IN":
            return rows.exclude(pk__in=keys)
        case _:
            raise InvalidInputError("A model_id compares by =, != and IN.", key="model_id")


def _by_metric(rows: QuerySet[LoggedModel], condition: Condition) -> QuerySet[LoggedModel]:
    """Any measure of that name counts; a few hundred models of an experiment are looked at one by one."""
    matching = [
        model.pk
        for model in rows.select_related(None).only("pk", "metrics").iterator()
        if any(one["key"] == condition.key and _holds(one["value"], condition) for one in model.metrics)
    ]
    return rows.filter(pk__in=matching)


def _holds(value: object, condition: Condition) -> bool:
    if not isinstance(value, int | float) or not isinstance(condition.value, float):
        return False
    return bool(_COMPARISONS[condition.operator](value, condition.value))


def _measured_on(rows: QuerySet[LoggedModel], datasets: list[Asked]) -> QuerySet[LoggedModel]:
    wanted = {(one.needed("dataset_name"), one.text("dataset_digest")) for one in datasets}
    names = {name for name, digest in wanted if not digest}
    matching = [
        model.pk
        for model in rows.select_related(None).only("pk", "metrics").iterator()
        if any(
            one.get("dataset_name") in names or (one.get("dataset_name"), one.get("dataset_digest")) in wanted
            for one in model.metrics
        )
    ]
    return rows.filter(pk__in=matching)
