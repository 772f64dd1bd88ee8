"""Runs as MLflow shows them; a page of runs costs the same few queries as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from steelyard_contracts.jobs import json_value
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import series
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.series.packing import Point
from steelyard_platform.mlflow.experiment_views import id_of
from steelyard_platform.mlflow.experiments import experiment_of
from steelyard_platform.mlflow.http import as_pairs, millis
from steelyard_platform.mlflow.models import Experiment
from steelyard_platform.mlflow.names import own_team
from steelyard_platform.mlflow.runs import RUN_NAME, USER, is_deleted, note_of, params_of, project_of, status_of


def records_of(runs: Sequence[Job], actor: Actor) -> list[dict[str, Any]]:
    own = own_team(actor)
    experiments = _experiments(runs)
    metrics = series.newest_points([run.pk for run in runs])
    return [
        {
            "info": _info(run, id_of(experiments[run.run.project_id], own)),
            "data": _data(run, metrics.get(run.pk, {})),
            **_in_and_out(run),
        }
        for run in runs
    ]


def record_of(run: Job, actor: Actor) -> dict[str, Any]:
    [found] = records_of([run], actor)
    return found


def info_of(run: Job, own: Team) -> dict[str, Any]:
    return _info(run, id_of(_experiments([run])[run.run.project_id], own))


def _experiments(runs: Sequence[Job]) -> dict[Any, Experiment]:
    projects = {run.run.project_id: project_of(run) for run in runs}
    found = {row.project_id: row for row in Experiment.objects.filter(project__in=list(projects))}
    for key, project in projects.items():
        if key not in found:
            found[key] = experiment_of(project)
    return found


def artifact_root(experiment_id: str, run: Job) -> str:
    return f"mlflow-artifacts:/{experiment_id}/{run.pk.hex}/artifacts"


def name_of(run: Job) -> str:
    """MLflow allows two runs of one name; here the second has a number behind it, and is shown by what it was given."""
    given: str = run.run.tags.get(RUN_NAME, "")
    kept: str = run.run.name
    return given if given and kept.startswith(given) else kept


def _info(run: Job, experiment_id: str) -> dict[str, Any]:
    began = run.started_at or run.created_at
    info: dict[str, Any] = {
        "run_id": run.pk.hex,
        "run_uuid": run.pk.hex,
        "run_name": name_of(run),
        "experiment_id": experiment_id,
        "user_id": run.run.tags.get(USER, run.created_by_name),
        "status": status_of(run),
        "start_time": millis(began),
        "artifact_uri": artifact_root(experiment_id, run),
        "lifecycle_stage": "deleted" if is_deleted(run) else "active",
    }
    if run.finished_at is not None:
        info["end_time"] = millis(run.finished_at)
    return info


def _data(run: Job, metrics: dict[str, Point]) -> dict[str, Any]:
    note = note_of(run)
    called = note.metric_names if note else {}
    tags = {**run.run.tags, RUN_NAME: name_of(run)}
    return {
        "metrics": [metric(called.get(name, name), point) for name, point in metrics.items()],
        "params": as_pairs(params_of(run)),
        "tags": as_pairs(tags),
    }


def metric(key: str, point: Point) -> dict[str, Any]:
    return {"key": key, "value": json_value(point.value), "timestamp": point.at, "step": point.step}


def _in_and_out(run: Job) -> dict[str, Any]:
    note = note_of(run)
    if note is None:
        return {"inputs": {}, "outputs": {}}
    return {
        "inputs": {"dataset_inputs": note.inputs, "model_inputs": note.models_read},
        "outputs": {"model_outputs": note.models_made},
    }
