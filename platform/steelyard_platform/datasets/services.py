"""What a dataset version holds, and whether a task can use it.

Counting reads annotation files. What is quickly read is counted when somebody first asks; more than that is left to
a light job, and whoever asks meanwhile is told to come back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Self

from celery import current_app
from django.db.models import Sum
from kombu.exceptions import OperationalError

from steelyard_contracts.datasets.layouts import Census, Layout
from steelyard_contracts.errors import UnavailableError
from steelyard_contracts.training import Task
from steelyard_platform.datasets.counting import count, take_census
from steelyard_platform.datasets.models import DatasetSummary
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Version

COUNT_DATASET = "steelyard.count_dataset"
# What a request reads itself: bytes of annotations, and YOLO's texts.
_BYTES_AT_ONCE, _TEXTS_AT_ONCE = 16 * 1024**2, 5_000
_EXPIRES_SECONDS = 600
_log = logging.getLogger(__name__)

Splits = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Summary:
    """As `DatasetSummary`, for those who read it."""

    layout: Layout | None
    tasks: list[Task]
    labels: list[str]
    pictures: dict[str, int]
    splits: Splits
    faults: list[str]
    fault_count: int

    @classmethod
    def of(cls, row: DatasetSummary) -> Self:
        return cls(
            layout=Layout(row.layout) if row.layout else None,
            tasks=[Task(task) for task in row.tasks],
            labels=row.labels,
            pictures=row.pictures,
            splits=row.splits,
            faults=row.faults,
            fault_count=row.fault_count,
        )


def summary_of(version: Version) -> Summary | None:
    """Counted once for each version, then kept; None while a light job is at it."""
    known = DatasetSummary.objects.filter(version=version).first()
    if known is not None:
        return Summary.of(known)
    census = take_census(version)
    if _is_quick(version, census):
        return Summary.of(_keep(version, census))
    _ask_for_count(version)
    return None


def existing_summary(version: Version) -> Summary:
    """Raises: UnavailableError while it is being counted."""
    found = summary_of(version)
    if found is None:
        raise UnavailableError(
            f"The annotations of {version.repository.full_name}@{version.label} are still being read; "
            "try again in a minute.",
            dataset=version.repository.full_name,
        )
    return found


def count_dataset(version: Version) -> None:
    """Whatever it takes. Counting twice is the same as once."""
    if not DatasetSummary.objects.filter(version=version).exists():
        _keep(version, take_census(version))


def _keep(version: Version, census: Census) -> DatasetSummary:
    counts = count(version, census)
    values: dict[str, Any] = {
        "layout": counts.layout or "",
        "tasks": counts.tasks,
        "labels": counts.labels,
        "pictures": dict(sorted(counts.pictures.items())),
        "splits": {split: dict(sorted(found.items())) for split, found in sorted(counts.splits.items())},
        "faults": counts.faults,
        "fault_count": counts.fault_count,
    }
    return DatasetSummary.objects.get_or_create(version=version, defaults=values)[0]


def _is_quick(version: Version, census: Census) -> bool:
    match census.layout:
        case Layout.COCO | Layout.METADATA:
            files = tree.entries_at(version).filter(path__in=list(census.annotations[census.layout].values()))
            return (files.aggregate(total=Sum("blob__size"))["total"] or 0) <= _BYTES_AT_ONCE
        case Layout.YOLO:
            return sum(map(len, census.label_files.values())) <= _TEXTS_AT_ONCE
        case Layout.IMAGEFOLDER | Layout.MASKS | None:
            return True


def _ask_for_count(version: Version) -> None:
    """Never fails: whoever asks next rings again."""
    try:
        current_app.send_task(
            COUNT_DATASET, args=[version.pk], ignore_result=True, retry=False, expires=_EXPIRES_SECONDS
        )
    except (OperationalError, OSError) as error:
        _log.warning("The broker did not take the count of dataset version %s: %s", version.pk, error)
