"""`experiments/…`."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, CharField, Expression, F, Q, QuerySet, Value, When
from django.db.models.functions import Concat
from django.http import HttpRequest

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.mlflow import experiments as services
from steelyard_platform.mlflow.experiments import DEFAULT, DEFAULT_ID
from steelyard_platform.mlflow.filters import EXPERIMENTS, parse_filter, parse_order
from steelyard_platform.mlflow.http import Asked, as_pairs, face, limit_of, millis, offset_of, token_for
from steelyard_platform.mlflow.models import Experiment
from steelyard_platform.mlflow.names import own_team
from steelyard_platform.mlflow.search import ordered, where

_PAGE, _LARGEST_PAGE = 1000, 50_000
_COLUMNS = {"name": "shown", "id": "pk", "created": "created_at", "updated": "updated_at"}


def record(experiment: Experiment, own: Team, name: str = "") -> dict[str, Any]:
    """As MLflow shows it to a member of `own`; `name`: how the client called it."""
    is_own = experiment.team_id == own.pk
    shown = experiment.name if is_own or experiment.project is None else experiment.project.full_name
    key = id_of(experiment, own)
    return {
        "experiment_id": key,
        "name": name or shown,
        "artifact_location": f"mlflow-artifacts:/{key}",
        "lifecycle_stage": "deleted" if experiment.is_deleted else "active",
        "creation_time": millis(experiment.created_at),
        "last_update_time": millis(experiment.updated_at),
        "tags": as_pairs(experiment.tags),
    }


def id_of(experiment: Experiment, own: Team) -> str:
    """The own team's Default has the number that clients take for it."""
    is_default = experiment.name == DEFAULT and experiment.team_id == own.pk
    return DEFAULT_ID if is_default else str(experiment.pk)


@face("POST")
def create(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - a view's signature
    name, tags = asked.needed("name"), asked.pairs("tags")
    where_to = asked.text("artifact_location")
    if where_to and not where_to.startswith("mlflow-artifacts:"):
        raise InvalidInputError(
            f"Artifacts are kept here, not at {where_to!r}; leave 'artifact_location' out.",
            parameter="artifact_location",
        )
    made = services.create_experiment(name=name, tags=tags, actor=actor)
    return {"experiment_id": id_of(made, own_team(actor))}


@face("GET")
def get(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    return {"experiment": record(services.find_experiment(actor, asked.needed("experiment_id")), own_team(actor))}


@face("GET")
def get_by_name(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    name = asked.needed("experiment_name")
    return {"experiment": record(services.find_by_name(actor, name), own_team(actor), name)}


@face("POST")
def delete(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    found = services.find_experiment(actor, asked.needed("experiment_id"))
    services.change_experiment(experiment=found, is_deleted=True, actor=actor)
    return {}


@face("POST")
def restore(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    found = services.find_experiment(actor, asked.needed("experiment_id"))
    services.change_experiment(experiment=found, is_deleted=False, actor=actor)
    return {}


@face("POST")
def update(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    found = services.find_experiment(actor, asked.needed("experiment_id"))
    if asked.text("new_name"):
        if record(found, own_team(actor))["name"] != found.name:
            raise InvalidInputError(
                f"The experiment {found.project} of another team is called as its repository; rename that one.",
                parameter="new_name",
            )
        services.change_experiment(experiment=found, name=asked.text("new_name"), actor=actor)
    return {}


@face("POST")
def set_tag(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    found = services.find_experiment(actor, asked.needed("experiment_id"))
    services.tag_experiment(experiment=found, key=asked.needed("key"), value=asked.text("value"), actor=actor)
    return {}


@face("POST", "DELETE")
def delete_tag(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    found = services.find_experiment(actor, asked.needed("experiment_id"))
    services.tag_experiment(experiment=found, key=asked.needed("key"), value=None, actor=actor)
    return {}


@face("GET", "POST")
def search(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    limit, offset = limit_of(asked, default=_PAGE, most=_LARGEST_PAGE), offset_of(asked)
    own = own_team(actor)
    services.default_experiment(actor)
    services.note_projects(actor)
    rows = _of_view(services.visible_experiments(actor).annotate(shown=_shown(own)), asked)
    for condition in parse_filter(asked.text("filter"), EXPERIMENTS):
        rows = where(rows, condition, _COLUMNS, tags="tags")
    orders = [parse_order(one, EXPERIMENTS) for one in asked.texts("order_by")]
    rows = ordered(rows, orders, _COLUMNS, default=("-created_at", "pk"), tags="tags")
    found = list(rows[offset : offset + limit + 1])
    answer: dict[str, Any] = {"experiments": [record(one, own) for one in found[:limit]]}
    if len(found) > limit:
        answer["next_page_token"] = token_for(offset + limit)
    return answer


def _shown(own: Team) -> Expression:
    """The name as a list shows and sorts it: the own team's as it was given, another's in full."""
    full = Concat("project__team__name", Value("/"), "project__name", output_field=CharField())
    return Case(When(Q(team=own) | Q(project=None), then=F("name")), default=full, output_field=CharField())


def _of_view(rows: QuerySet[Experiment], asked: Asked) -> QuerySet[Experiment]:
    match asked.text("view_type", "ACTIVE_ONLY").upper():
        case "ACTIVE_ONLY":
            return rows.filter(is_deleted=False)
        case "DELETED_ONLY":
            return rows.filter(is_deleted=True)
        case _:
            return rows
