"""`runs/…` and `metrics/…`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.tracking import metric_name
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import series
from steelyard_platform.mlflow import runs as services
from steelyard_platform.mlflow.experiments import DEFAULT_ID, find_experiment
from steelyard_platform.mlflow.http import Asked, face, limit_of, offset_of, token_for
from steelyard_platform.mlflow.logged_models import note_metrics
from steelyard_platform.mlflow.names import own_team
from steelyard_platform.mlflow.run_records import info_of, metric, record_of, records_of
from steelyard_platform.mlflow.run_search import found_runs

_PAGE, _LARGEST_PAGE = 1000, 50_000
_HISTORY = 25_000


@face("POST")
def create(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - a view's signature
    experiment = find_experiment(actor, asked.text("experiment_id") or DEFAULT_ID)
    run = services.start_run(experiment=experiment, asked=asked, actor=actor)
    return {"run": record_of(run, actor)}


@face("GET")
def get(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    return {"run": record_of(services.find_run(asked.run_id(), actor), actor)}


@face("POST")
def update(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    run = services.find_run(asked.run_id(), actor, active=True)
    run = services.update_run(run=run, asked=asked, actor=actor)
    return {"run_info": info_of(run, own_team(actor))}


@face("POST")
def delete(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    services.set_deleted(run=services.find_run(asked.run_id(), actor), deleted=True, actor=actor)
    return {}


@face("POST")
def restore(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    services.set_deleted(run=services.find_run(asked.run_id(), actor), deleted=False, actor=actor)
    return {}


@face("POST")
def log_metric(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    run_id, _, _ = asked.run_id(), asked.needed("key"), asked.number("value")
    run = services.find_run(run_id, actor, active=True)
    services.log(run=run, metrics=[asked], actor=actor)
    note_metrics(run=run, metrics=[asked], actor=actor)
    return {}


@face("POST")
def log_parameter(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    run_id, key, value = asked.run_id(), asked.needed("key"), asked.text("value")
    services.log(run=services.find_run(run_id, actor, active=True), params={key: value}, actor=actor)
    return {}


@face("POST")
def set_tag(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    run_id, key, value = asked.run_id(), asked.needed("key"), asked.text("value")
    services.log(run=services.find_run(run_id, actor, active=True), tags={key: value}, actor=actor)
    return {}


@face("POST")
def delete_tag(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    run = services.find_run(asked.run_id(), actor, active=True)
    services.delete_tag(run=run, key=asked.needed("key"), actor=actor)
    return {}


@face("POST")
def log_batch(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    run_id, metrics = asked.run_id(), asked.items("metrics")
    params, tags = asked.items("params"), asked.pairs("tags")
    by_key = {one.needed("key"): one.text("value") for one in params}
    if any(by_key[one.text("key")] != one.text("value") for one in params):
        raise InvalidInputError("Changing param values is not allowed: the batch gives one key two values.")
    run = services.find_run(run_id, actor, active=True)
    services.log(run=run, metrics=metrics, params=by_key, tags=tags, actor=actor)
    note_metrics(run=run, metrics=metrics, actor=actor)
    return {}


@face("POST")
def log_model(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    """The former way to say that a run has logged a model; its own record of it is the run's tag."""
    services.find_run(asked.run_id(), actor, active=True)
    asked.needed("model_json")
    return {}


@face("POST")
def log_inputs(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    services.note_inputs(run=services.find_run(asked.run_id(), actor, active=True), asked=asked, actor=actor)
    return {}


@face("POST")
def outputs(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    services.note_outputs(run=services.find_run(asked.run_id(), actor, active=True), asked=asked, actor=actor)
    return {}


@face("POST")
def search(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    limit, offset = limit_of(asked, default=_PAGE, most=_LARGEST_PAGE), offset_of(asked)
    found = list(found_runs(asked, actor)[offset : offset + limit + 1])
    answer: dict[str, Any] = {"runs": records_of(found[:limit], actor)}
    if len(found) > limit:
        answer["next_page_token"] = token_for(offset + limit)
    return answer


@face("GET")
def metric_history(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    """By step; a page goes on after the last step of the one before."""
    run, key = services.find_run(asked.run_id(), actor), asked.needed("metric_key")
    limit = limit_of(asked, default=_HISTORY, most=_HISTORY)
    after = offset_of(asked) - 1
    points = series.read_points(run.pk, metric_name(key), after=after, limit=limit + 1)
    answer: dict[str, Any] = {"metrics": [metric(key, point) for point in points[:limit]]}
    if len(points) > limit:
        answer["next_page_token"] = token_for(points[limit - 1].step + 1)
    return answer
