"""Projects, datasets and models in the words of this client's SDK. A model is a run; its id is the run's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Max

from steelyard_contracts.errors import RepositoryNotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_platform.datasets.services import Summary, summary_of
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import RUN
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.ultralytics.cards import task_of
from steelyard_platform.ultralytics.ndjson import TASKS

# Beside a run that was deleted by this client: its versions are in the trash.
DELETED = "ultralytics_deleted"
_STATUS = {
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
_MEASURES = ("map50", "map50_95", "precision", "recall", "accuracy", "accuracy_top5", "fitness")


def moment(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def without_none(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}


def status_of(run: Job) -> str:
    """What was announced and has neither reported nor saved anything is `untrained`."""
    if run.state == JobState.RUNNING and not run.progress and "announced" in run.run.tags:
        return "untrained"
    return _STATUS.get(JobState(run.state), "failed")


# --- projects ------------------------------------------------------------------------------------


def project_records(repositories: Sequence[Repository]) -> list[dict[str, Any]]:
    """With how many models each has: one query, however many there are."""
    runs = Job.objects.filter(kind=RUN, run__project__in=repositories).exclude(run__tags__has_key=DELETED)
    counted = runs.values_list("run__project").annotate(models=Count("pk"))
    counts: dict[UUID, int] = dict(counted.order_by())
    return [_project(repository, counts.get(repository.pk, 0)) for repository in repositories]


def _project(repository: Repository, models: int) -> dict[str, Any]:
    card = repository.card
    return without_none(
        {
            "id": str(repository.pk),
            "owner": repository.team.name,
            "project": repository.name,
            "name": repository.name,
            "description": _text(card.get("description")),
            "visibility": "public" if repository.is_public else "private",
            "tags": _texts(card.get("tags")),
            "license": _text(card.get("license")),
            "modelCount": models,
            "starCount": 0,
            "isStarred": False,
            "createdAt": moment(repository.created_at),
            "updatedAt": moment(repository.updated_at),
        }
    )


# --- models --------------------------------------------------------------------------------------


def model_records(runs: Sequence[Job], project: Repository) -> list[dict[str, Any]]:
    """Two queries, however many there are."""
    saved = newest_versions(project, [run.pk for run in runs])
    return [model_record(run, project, saved.get(run.pk)) for run in runs]


def project_of(run: Job) -> Repository:
    """Raises: RepositoryNotFoundError for one whose project was deleted for good."""
    project = run.run.project
    if project is None:
        raise RepositoryNotFoundError(f"The project of the run {run.run.name} was deleted.")
    return project


def newest_versions(project: Repository, runs: Sequence[UUID]) -> dict[UUID, Version]:
    """The newest version that each has saved."""
    of_them = Version.objects.filter(repository=project, job__in=runs).order_by()
    numbers = of_them.values("job").annotate(newest=Max("number")).values_list("newest", flat=True)
    found = Version.objects.filter(repository=project, number__in=list(numbers), job__in=runs)
    return {version.job: version for version in found if version.job is not None}


def model_record(run: Job, project: Repository, saved: Version | None) -> dict[str, Any]:
    result, config = run.result, run.spec.get("config", {})
    return without_none(
        {
            "id": str(run.pk),
            "owner": project.team.name,
            "project": project.name,
            "projectName": project.name,
            "model": run.run.name,
            "name": run.run.name,
            "description": run.run.tags.get("description"),
            "visibility": "public" if project.is_public else "private",
            "status": status_of(run),
            "task": task_of(run) or None,
            "epochs": run.run.total_steps,
            "bestEpoch": result.get("best_epoch"),
            "bestFitness": result.get("fitness"),
            "metrics": {name: result[name] for name in _MEASURES if name in result},
            "trainArgs": config,
            "classNames": result.get("classes"),
            "environment": run.run.environment,
            "hasWeights": saved is not None,
            "file": {"size": saved.total_size} if saved is not None else None,
            "version": saved.label if saved is not None else None,
            "trainingError": {"message": run.error, "timestamp": moment(run.finished_at)} if run.error else None,
            "starCount": 0,
            "isStarred": False,
            "startedAt": moment(run.started_at),
            "completedAt": moment(run.finished_at),
            "createdAt": moment(run.created_at),
            "updatedAt": moment(run.run.heard_at),
        }
    )


# --- datasets ------------------------------------------------------------------------------------


def dataset_record(repository: Repository, version: Version | None, summary: Summary | None) -> dict[str, Any]:
    """`version` is the newest of main; without a summary, what it holds is still being read."""
    pictures = summary.pictures if summary is not None else {}
    task = next((TASKS[task] for task in summary.tasks if task in TASKS), None) if summary is not None else None
    card = repository.card
    return without_none(
        {
            "id": str(repository.pk),
            "owner": repository.team.name,
            "dataset": repository.name,
            "name": repository.name,
            "description": _text(card.get("description")),
            "visibility": "public" if repository.is_public else "private",
            "task": task,
            "imageCount": sum(pictures.values()),
            "classCount": len(summary.labels) if summary is not None else None,
            "classNames": summary.labels if summary is not None else None,
            "format": str(summary.layout) if summary is not None and summary.layout is not None else None,
            "tags": _texts(card.get("tags")),
            "license": _text(card.get("license")),
            "splits": {
                "train": pictures.get("train", 0),
                "val": pictures.get("validation", 0),
                "test": pictures.get("test", 0),
                "labeled": sum(pictures.values()),
            },
            "totalBytes": version.total_size if version is not None else 0,
            "starCount": 0,
            "isStarred": False,
            "status": "processing" if version is not None and summary is None else "ready",
            "createdAt": moment(repository.created_at),
            "updatedAt": moment(repository.updated_at),
        }
    )


def newest_dataset(repository: Repository) -> tuple[Version | None, Summary | None]:
    version = resolve(repository).version
    if version is None:
        return None, None
    version.repository = repository
    return version, summary_of(version)


def dataset_version_record(version: Version, summary: Summary | None) -> dict[str, Any]:
    pictures = summary.pictures if summary is not None else {}
    return {
        "version": version.number,
        "description": version.title,
        "sizeBytes": version.total_size,
        "contentHash": version.commit_id,
        "imageCount": sum(pictures.values()),
        "classCount": len(summary.labels) if summary is not None else 0,
        "annotationCount": sum(sum(found.values()) for found in summary.splits.values()) if summary is not None else 0,
        "splits": {
            "train": pictures.get("train", 0),
            "val": pictures.get("validation", 0),
            "test": pictures.get("test", 0),
            "labeled": sum(pictures.values()),
        },
        "createdAt": moment(version.created_at),
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str) and item]
