"""What a job's page and the API say of a run, and whether it is silent."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from steelyard_contracts.jobs import JobState
from steelyard_contracts.tracking import SILENT_SECONDS, RunFacts, RunSource
from steelyard_platform.jobs.models import Job

RUN = "run"
# What a list of jobs reads along, so that no run among them costs a question of its own.
WITH_RUN = ("team", "run__project__team")


def is_run(job: Job) -> bool:
    return job.kind == RUN


def silent_since(job: Job) -> datetime | None:
    """Since when a run that has not ended is silent; None while it is heard of, and for every other job."""
    if not is_run(job) or JobState(job.state).is_final:
        return None
    heard: datetime = job.run.heard_at
    return heard if timezone.now() - heard > timedelta(seconds=SILENT_SECONDS) else None


def facts_of(job: Job) -> RunFacts:
    """Comes without a query where the job was read with `WITH_RUN`."""
    run = job.run
    return RunFacts(
        name=run.name,
        project=run.project.full_name if run.project else "",
        source=RunSource(run.source),
        tags=run.tags,
        environment=run.environment,
        git=run.git,
        total_steps=run.total_steps,
        heard_at=run.heard_at,
        is_silent=silent_since(job) is not None,
    )
