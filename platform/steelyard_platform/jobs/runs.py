"""Runs side by side, for whoever may see all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.runs import FEWEST, MOST, Run, RunComparison, Told, compare
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import series
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.queries import find_job
from steelyard_platform.jobs.run_facts import is_run


def compare_runs(job_ids: Sequence[UUID], actor: Actor) -> RunComparison:
    """In the order asked for. Raises: InvalidInputError, NotFoundError."""
    wanted = list(dict.fromkeys(job_ids))
    if not FEWEST <= len(wanted) <= MOST:
        raise InvalidInputError(f"Name {FEWEST} to {MOST} different jobs to compare; these are {len(wanted)}.")
    return compare([_told(find_job(job_id, actor)) for job_id in wanted])


def _told(job: Job) -> Told:
    took = (job.finished_at - job.started_at) / timedelta(seconds=1) if job.finished_at and job.started_at else None
    version = job.result.get("version")
    run = Run(
        id=job.pk,
        kind=job.kind,
        name=job.run.name if is_run(job) else "",
        state=job.state,
        team=job.team.name,
        created_by=job.created_by_name,
        created_at=job.created_at,
        seconds=took,
        version=version if isinstance(version, str) else None,
    )
    measured = {name: value for name, value in series.last_values(job.pk).items() if not name.startswith(series.METERS)}
    numbers = {name: value for name, value in job.result.items() if isinstance(value, int | float)}
    counted = {name: float(value) for name, value in numbers.items() if not isinstance(value, bool)}
    return Told(run, given_to(job), {**measured, **counted})


def given_to(job: Job) -> Mapping[str, Any]:
    """What a job was to do; a run's configuration stands beside a training's options, with what both were given."""
    spec: dict[str, Any] = job.spec
    if not is_run(job):
        return spec
    given = {"dataset": ", ".join(spec["datasets"]) or None, "base": spec["base"]}
    return {**{key: value for key, value in given.items() if value}, **spec["config"]}
