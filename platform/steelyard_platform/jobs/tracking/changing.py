"""What becomes of a run: what it said of itself changes, it saves versions, it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.jobs import AttemptEnd, JobState
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.run_specs import LONGEST_TEXT, MOST_TAGS
from steelyard_contracts.tracking import (
    LARGEST_CONFIGURATION,
    SILENT_SECONDS,
    GitState,
    plain_json,
    plain_text,
    run_name,
)
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import OPERATOR, PLATFORM, Actor
from steelyard_platform.jobs.models import Attempt, Job, TrackedRun
from steelyard_platform.jobs.run_facts import RUN, WITH_RUN
from steelyard_platform.jobs.tracking.finding import locked, project_for_writing
from steelyard_platform.jobs.tracking.starting import free_name
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.weights.models import Relation
from steelyard_platform.weights.services import record_lineage

_MESSAGE_LENGTH = 500


def update_run(
    *,
    run: Job,
    actor: Actor,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str | None] | None = None,
    total_steps: int | None = None,
    message: str | None = None,
    progress: float | None = None,
    environment: Mapping[str, str] | None = None,
    git: GitState | None = None,
) -> Job:
    """What is named changes: of `config`, `tags` and `environment` the keys that are given; a tag that is None goes.

    Raises: InvalidInputError for too many tags; RepositoryNotFoundError, ForbiddenError.
    """
    project = project_for_writing(run, actor)
    with transaction.atomic():
        if name is not None:
            lock_repository(project.pk)
        job, now = locked(run), timezone.now()
        tracked: TrackedRun = job.run
        if wanted := run_name(name or ""):
            tracked.name = free_name(project, wanted, besides=job)
        if config:
            job.spec = {**job.spec, "config": _bounded({**job.spec["config"], **plain_json(dict(config))})}
        if tags:
            tracked.tags = _merged(tracked.tags, tags)
        tracked.total_steps = total_steps or tracked.total_steps
        tracked.environment = {**tracked.environment, **(environment or {})}
        tracked.git = git.model_dump() if git else tracked.git
        job.message = job.message if message is None else plain_text(message)[:_MESSAGE_LENGTH]
        job.progress = job.progress if progress is None else progress
        if not JobState(job.state).is_final:
            tracked.heard_at = now
        job.save(update_fields=["spec", "message", "progress"])
        tracked.save()
        if changed := _changed(wanted, config, tags):
            audit.record(actor, "update run", project.full_name, job=str(job.pk), changed=changed)
    return job


def save_version(*, run: Job, version: Version, actor: Actor, is_elsewhere: bool = False) -> None:
    """Notes that the run committed the version, and what it was made of. Twice is the same as once.

    With `is_elsewhere` the version may be another repository's, as of a model that was registered from the run.

    Raises: InvalidInputError for another repository's; RepositoryNotFoundError, ForbiddenError.
    """
    project = project_for_writing(run, actor)
    if version.repository_id != project.pk and not is_elsewhere:
        raise InvalidInputError(f"The run {run.run.name} saves versions of its project {project.full_name} alone.")
    with transaction.atomic():
        job = locked(run)
        Version.objects.filter(pk=version.pk, job=None).update(job=job.pk)
        newest = job.result.get("version")
        job.result = {**job.result, "version": f"{version.repository.full_name}@{version.label}"}
        job.save(update_fields=["result"])
        for source, relation in _inputs(job):
            if source.pk != version.pk:
                record_lineage(source=source, target=version, relation=relation, job=job.pk)
        if newest != job.result["version"]:
            audit.record(actor, "save version of run", project.full_name, job=str(job.pk), version=version.label)


def finish_run(
    *,
    run: Job,
    state: JobState,
    actor: Actor,
    error: str | None = None,
    result: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    attempt: int | None = None,
) -> Job:
    """Ends the run, once: the first end counts, and whatever is said after it is answered with that.

    With `attempt`, the end of that one: when the run has gone on as another since, nothing changes.

    Raises: InvalidInputError for a state that is no end of a run; RepositoryNotFoundError, ForbiddenError.
    """
    project = project_for_writing(run, actor)
    if state not in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}:
        raise InvalidInputError(f"A run ends as succeeded, failed or cancelled, not as {state}.")
    with transaction.atomic():
        job = locked(run)
        if not JobState(job.state).is_final and attempt in {None, job.attempt}:
            job.result = {**job.result, **plain_json(dict(result or {}))}
            _end(job, state, plain_text(error or "")[:LONGEST_TEXT], at)
            audit.record(actor, "finish run", project.full_name, job=str(job.pk), state=state)
    return job


def end_unheard_runs() -> int:
    """Runs that somebody cancelled, and that were not heard of since for long, are cancelled. Returns how many."""
    long_ago = timezone.now() - timedelta(seconds=SILENT_SECONDS)
    waiting = Job.objects.filter(kind=RUN, state=JobState.RUNNING, cancel_requested_at__isnull=False)
    unheard = waiting.filter(run__heard_at__lt=long_ago).select_related(*WITH_RUN).order_by("pk")[:100]
    return sum(_cancel_unheard(run, long_ago) for run in unheard)


@transaction.atomic
def _cancel_unheard(run: Job, long_ago: datetime) -> bool:
    job = locked(run)
    if JobState(job.state).is_final or job.cancel_requested_at is None or job.run.heard_at >= long_ago:
        return False
    _end(job, JobState.CANCELLED, "cancelled while it was silent", None)
    audit.record(PLATFORM, "cancel silent run", str(job.pk))
    return True


def _end(job: Job, state: JobState, why: str, at: datetime | None) -> None:
    now = timezone.now()
    ended = min(at or now, now)
    job.finished_at = max(ended, job.started_at) if job.started_at else ended
    job.state = state
    job.error = why if state is JobState.FAILED else ""
    job.message = "cancelled" if state is JobState.CANCELLED else ""
    job.progress = 1.0 if state is JobState.SUCCEEDED else job.progress
    job.save()
    attempts = Attempt.objects.filter(job=job, number=job.attempt)
    attempts.update(ended_at=job.finished_at, ending=AttemptEnd(state), why=why)


def _inputs(job: Job) -> list[tuple[Version, Relation]]:
    """What the run was pinned to, as far as it is still there."""
    named = [(text, RepositoryKind.DATASET, Relation.TRAINED_ON) for text in job.spec["datasets"]]
    if job.spec.get("base"):
        named.append((job.spec["base"], RepositoryKind.MODEL, Relation.FINE_TUNED_FROM))
    found = []
    for text, kind, relation in named:
        version = _existing(text, kind)
        if version is not None:
            found.append((version, relation))
    return found


def _existing(text: str, kind: RepositoryKind) -> Version | None:
    """Whoever started the run had the right to read it."""
    try:
        return find_existing_version(OPERATOR, parse_ref(text, kind=kind))
    except NotFoundError:
        return None


def _merged(tags: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    kept = {key: value for key, value in tags.items() if key not in changes}
    clean = {plain_text(key): plain_text(value)[:LONGEST_TEXT] for key, value in changes.items() if value is not None}
    merged = {**kept, **clean}
    if len(merged) > MOST_TAGS:
        raise InvalidInputError(f"A run has at most {MOST_TAGS} tags; these would be {len(merged)}.")
    return merged


def _bounded(config: dict[str, Any]) -> dict[str, Any]:
    """Raises: InvalidInputError."""
    if len(json.dumps(config)) > LARGEST_CONFIGURATION:
        raise InvalidInputError(
            f"A run's configuration has at most {LARGEST_CONFIGURATION:,} characters as JSON; save the rest as a file."
        )
    return config


def _changed(name: str, config: Mapping[str, Any] | None, tags: Mapping[str, str | None] | None) -> list[str]:
    """What people would look for in the trail: not each word of progress."""
    return [what for what, value in (("name", name), ("config", config), ("tags", tags)) if value]
