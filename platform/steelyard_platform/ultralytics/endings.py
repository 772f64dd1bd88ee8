"""How a training ends well, or as far as somebody let it: its weights, what it measured, and the run's last word."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from steelyard_contracts.errors import NotFoundError, SteelyardError
from steelyard_contracts.jobs import STOPPED_EARLY, ConvertSpec, EvaluationReport, JobState
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.tasks import Task
from steelyard_platform.accounts.permissions import OPERATOR, Actor
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.services import request_job
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.ultralytics import reports
from steelyard_platform.ultralytics.cards import task_of
from steelyard_platform.ultralytics.uploads import uploaded
from steelyard_platform.ultralytics.weights import save_result, was_saved_by_torch
from steelyard_platform.weights.services import record_evaluation

RUNTIME = "ultralytics"
_TASKS = {"detect": Task.DETECTION, "classify": Task.CLASSIFICATION}
_MOST_CLASSES = 10_000
_NO_NETWORK = "The file that was sent as weights is none that torch saved; it is kept, without the figures."
_log = logging.getLogger(__name__)


def complete(run: Job, data: Mapping[str, Any], actor: Actor) -> None:
    """Ends the run. Only one that nobody cancelled becomes a version of main. Said again, nothing happens."""
    if JobState(run.state).is_final:
        return
    results = reports.mapping(data.get("results"))
    result = _result(data, results)
    if run.cancel_requested_at is not None:
        tracking.finish_run(run=run, state=JobState.CANCELLED, result=result, actor=actor)
        return
    if run.stop_requested_at is not None:
        result[STOPPED_EARLY] = True
    network = None
    upload = uploaded(results.get("modelPath"), run)
    if upload is not None and upload.version is not None:
        saved = save_result(run, upload.version, data, actor)
        if was_saved_by_torch(upload.version):
            network = saved
            _record_measures(run, network, reports.mapping(results.get("metrics")))
        else:  # kept all the same, and it measures nothing that a gate could ask for
            result["warning"] = _NO_NETWORK
    tracking.finish_run(run=run, state=JobState.SUCCEEDED, result=result, actor=actor)
    if network is not None:
        _ask_for_safetensors(network, actor)


def _result(data: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """As a training of our own reports it, and what else the client says."""
    measures = reports.measures_of(reports.mapping(results.get("metrics")))
    classes = data.get("classNames")
    labels = [str(name) for name in classes[:_MOST_CLASSES]] if isinstance(classes, list) else []
    best = results.get("bestEpoch")
    return {
        **measures,
        **({"best_epoch": best} if isinstance(best, int) else {}),
        **({"classes": labels} if labels else {}),
    }


def _record_measures(run: Job, version: Version, metrics: Mapping[str, Any]) -> None:
    """What the client measured on the validation split of a dataset of ours, where gates can ask for it."""
    measures = reports.measures_of(metrics)
    measures.pop("fitness", None)
    named = run.spec.get("datasets") or []
    if not measures or not named:
        return
    try:
        # Whoever started the run had the right to read what it was pinned to.
        dataset = find_existing_version(OPERATOR, parse_ref(named[0], kind=RepositoryKind.DATASET))
    except NotFoundError:
        return  # it was deleted meanwhile
    report = EvaluationReport(
        model=f"{version.repository.full_name}@{version.label}",
        dataset=named[0],
        runtime=RUNTIME,
        metrics=measures,
        task=_TASKS.get(task_of(run), ""),
        environment={name: str(value)[:200] for name, value in run.run.environment.items()},
    )
    record_evaluation(version=version, dataset=dataset, report=report, job=run.pk)


def _ask_for_safetensors(version: Version, actor: Actor) -> None:
    """The run has ended, whatever becomes of this."""
    try:
        request_job(spec=ConvertSpec(model=f"{version.repository.full_name}@{version.label}"), actor=actor)
    except SteelyardError:
        _log.exception("no conversion was asked for of %s", version)
