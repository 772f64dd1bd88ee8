"""`runs/search`: by metrics, params, tags and attributes, in any order, a page at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet, Subquery, TextField
from django.db.models.functions import Cast

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.tracking import metric_name
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import RUN, WITH_RUN
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.mlflow.experiments import default_experiment, visible_experiments
from steelyard_platform.mlflow.filters import RUNS, Condition, parse_filter, parse_order
from steelyard_platform.mlflow.http import Asked
from steelyard_platform.mlflow.models import Experiment
from steelyard_platform.mlflow.runs import USER, states_of
from steelyard_platform.mlflow.search import KeyText, compared, ordered, where

_COLUMNS = {
    "run_id": "pk", "run_name": "run__name", "start_time": "started_at", "end_time": "finished_at", "status": "state",
}  # fmt: skip
_MOST_EXPERIMENTS = 1000
_CONTEXT = "mlflow.data.context"


def found_runs(asked: Asked, actor: Actor) -> QuerySet[Job]:
    """In the order asked for. Raises: InvalidInputError."""
    projects = _projects(asked.texts("experiment_ids"), actor)
    rows = Job.objects.filter(kind=RUN, run__project__in=projects).select_related(*WITH_RUN, "mlflow_note")
    match asked.text("run_view_type", "ACTIVE_ONLY").upper():
        case "DELETED_ONLY":
            rows = rows.filter(mlflow_note__is_deleted=True)
        case "ACTIVE_ONLY":
            rows = rows.exclude(mlflow_note__is_deleted=True)
    special = {
        "run_id": _by_id, "status": _by_status, "user_id": _by_user, "metric": _by_metric, "dataset": _by_dataset,
    }  # fmt: skip
    for condition in parse_filter(asked.text("filter"), RUNS):
        rows = where(rows, condition, _COLUMNS, tags="run__tags", params="spec__config", special=special)
    orders = [parse_order(one, RUNS) for one in asked.texts("order_by")]
    return ordered(
        rows,
        orders,
        _COLUMNS,
        default=("-started_at", "pk"),
        tags="run__tags",
        params="spec__config",
        expressions={"metric": _newest_value},
    )


def _projects(experiment_ids: Sequence[str], actor: Actor) -> list[UUID]:
    """Of the experiments that the actor may read; what they may not is as if it were not there."""
    if len(experiment_ids) > _MOST_EXPERIMENTS:
        raise InvalidInputError(f"At most {_MOST_EXPERIMENTS} experiments in one search.")
    numbers = [int(one) for one in experiment_ids if one.isdecimal() and len(one) < 18]  # noqa: PLR2004 - 64 bits
    found: list[Experiment] = list(visible_experiments(actor).filter(pk__in=[one for one in numbers if one]))
    if 0 in numbers:
        found.append(default_experiment(actor))
    readable = (one.project for one in found if one.project and may(actor, Action.READ, one.project.team.resource))
    return [project.pk for project in readable]


def _by_id(rows: QuerySet[Job], condition: Condition) -> QuerySet[Job]:
    named = condition.value if isinstance(condition.value, tuple) else (str(condition.value),)
    known = [UUID(one) for one in named if _is_id(one)]
    match condition.operator:
        case "=" | "IN":
            return rows.filter(pk__in=known)
        case "!=" | "NOT IN":
            return rows.exclude(pk__in=known)
        case _:
            raise InvalidInputError("A run_id compares by =, != and IN.", key="run_id")


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _by_status(rows: QuerySet[Job], condition: Condition) -> QuerySet[Job]:
    named = condition.value if isinstance(condition.value, tuple) else (str(condition.value),)
    states = [state for one in named for state in states_of(one)]
    match condition.operator:
        case "=" | "IN":
            return rows.filter(state__in=states)
        case "!=" | "NOT IN":
            return rows.exclude(state__in=states)
        case _:
            raise InvalidInputError("A status compares by =, != and IN.", key="status")


def _by_user(rows: QuerySet[Job], condition: Condition) -> QuerySet[Job]:
    rows = rows.alias(user_tag=Cast(KeyText("run__tags", USER), TextField()))
    return rows.filter(compared("user_tag", condition))


def _by_metric(rows: QuerySet[Job], condition: Condition) -> QuerySet[Job]:
    mine = MetricSeries.objects.filter(job=OuterRef("pk"), name=metric_name(condition.key), last_special=0)
    return rows.filter(Exists(mine.filter(compared("last_value", condition))))


def _newest_value(key: str) -> Subquery:
    return Subquery(MetricSeries.objects.filter(job=OuterRef("pk"), name=metric_name(key)).values("last_value")[:1])


def _by_dataset(rows: QuerySet[Job], condition: Condition) -> QuerySet[Job]:
    """What a run has read, by its name, its digest or its context; looked for in the text of what was sent."""
    if condition.operator != "=" or condition.key not in {"name", "digest", "context"}:
        raise InvalidInputError("A dataset is found by its name, digest or context, each by =.", key=condition.key)
    text = json.dumps(condition.value)
    wanted: Any = f'"{condition.key}": {text}'
    if condition.key == "context":
        wanted = f'"key": "{_CONTEXT}", "value": {text}'
    rows = rows.alias(inputs_text=Cast("mlflow_note__inputs", TextField()))
    return rows.filter(inputs_text__contains=wanted)
