"""What the parts of a job's page show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from steelyard_contracts.estimates import duration
from steelyard_contracts.jobs import JobState
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.workers import Resources
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs import feed, series
from steelyard_platform.jobs.interventions import STOPPABLE_KINDS
from steelyard_platform.jobs.models import Attempt, Job, Sample
from steelyard_platform.jobs.run_facts import is_run
from steelyard_platform.jobs.run_files import files_of
from steelyard_platform.jobs.runs import given_to
from steelyard_platform.jobs.samples import MOST, view_of_sample

_ATTEMPTS, _FILES = 10, 100
_TILES = 12
_DEFAULTS = {name: field.default for name, field in TrainSpec.model_fields.items()}
_RESUMABLE = {JobState.FAILED, JobState.CANCELLED, JobState.LOST}


def status_of(job: Job) -> dict[str, Any]:
    """State, progress, time that is left, and the newest values of the training's own series."""
    return {"job": job, "status": feed.status_of(job), "last": _tiles(series.last_values(job.pk))}


def _tiles(values: dict[str, float]) -> dict[str, float]:
    """What was validated first, then what was trained; the machine's meters have charts of their own."""
    own = [name for name in values if not name.startswith(series.METERS)]
    return {name: values[name] for name in sorted(own, key=lambda name: ("validation" not in name, name))[:_TILES]}


def actions_of(job: Job, actor: Actor) -> dict[str, Any]:
    state, allowed = JobState(job.state), may(actor, Action.RUN_JOBS, job.team.resource)
    return {
        "job": job,
        "may_cancel": allowed and not state.is_final and job.cancel_requested_at is None,
        "may_stop": allowed and state.is_held and job.kind in STOPPABLE_KINDS and job.stop_requested_at is None,
        "may_resume": allowed and state in _RESUMABLE and not is_run(job),
        "may_clone": allowed and job.kind == "train",
    }


def panels_of(job: Job) -> dict[str, Any]:
    return {
        "job": job,
        "attempts": list(Attempt.objects.filter(job=job).order_by("-number")[:_ATTEMPTS]),
        "spec": dict(given_to(job)) if is_run(job) else _spoken(job.spec),
        "run": _run(job) if is_run(job) else None,
        "files": files_of(job, _FILES) if is_run(job) else [],
        "result": {key: value for key, value in job.result.items() if not isinstance(value, dict | list)},
        "took": _took(job),
        "needs": Resources.model_validate(job.resources).in_full(),
    }


def _run(job: Job) -> dict[str, Any]:
    """What a run said of where it trains."""
    facts = job.run
    return {
        "name": facts.name,
        "environment": facts.environment,
        "git": facts.git,
        "tags": facts.tags,
        "source": facts.source,
    }


def samples_of(job: Job) -> dict[str, list[dict[str, Any]]]:
    """By name, each by step."""
    found: dict[str, list[dict[str, Any]]] = {}
    for sample in Sample.objects.filter(job=job).order_by("name", "step")[:MOST]:
        found.setdefault(sample.name, []).append(view_of_sample(sample).model_dump())
    return found


def _spoken(spec: dict[str, Any]) -> dict[str, Any]:
    """What was asked for; what is as always is left out."""
    return {
        key: value
        for key, value in spec.items()
        if key != "kind" and value not in (None, "", "none", [], {}) and _DEFAULTS.get(key) != value
    }


def _took(job: Job) -> str:
    if job.started_at is None:
        return ""
    return duration(((job.finished_at or timezone.now()) - job.started_at) / timedelta(seconds=1))
