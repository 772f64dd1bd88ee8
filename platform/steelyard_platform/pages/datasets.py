"""What a dataset holds, on its pages: pictures and labels by split, and what is wrong."""

from __future__ import annotations

from typing import Any

from steelyard_contracts.datasets.layouts import Layout
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.datasets.checks import check_for_task
from steelyard_platform.datasets.services import Summary, summary_of
from steelyard_platform.repos.models import Repository, Version

# Bars of one split; a dataset may have a thousand classes.
_LABELS_SHOWN = 40
_WITH_BOXES = frozenset({Layout.COCO, Layout.YOLO, Layout.METADATA})


def dataset_content(repository: Repository, version: Version | None) -> dict[str, Any]:
    """What `repository/splits.html` shows; nothing for a model."""
    if repository.kind != RepositoryKind.DATASET or version is None:
        return {}
    summary = summary_of(version)
    if summary is None:
        return {"is_being_counted": True}
    untrainable = "" if summary.fault_count else _why_untrainable(summary, repository.full_name)
    return {"dataset": summary, "splits": _splits(summary), "untrainable": untrainable}


def _why_untrainable(summary: Summary, name: str) -> str:
    """What a training would say of it, where its pictures fit a task and yet no training takes it."""
    said = ""
    for task in summary.tasks:
        try:
            check_for_task(summary, name, task)
        except DatasetUnusableError as error:
            said = said or str(error)
        else:
            return ""
    return said


def _splits(summary: Summary) -> list[dict[str, Any]]:
    """Each split with its labels, the most frequent first, and each label's share of the largest for the bars."""
    largest = max((count for labels in summary.splits.values() for count in labels.values()), default=1)
    found = []
    for split, pictures in summary.pictures.items():
        counted = summary.splits.get(split, {})
        labels = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        found.append(
            {
                "name": split,
                "pictures": pictures,
                "boxes": sum(counted.values()) if summary.layout in _WITH_BOXES else None,
                "labels": [
                    {"name": label, "count": count, "share": 100 * count / max(largest, 1)}
                    for label, count in labels[:_LABELS_SHOWN]
                ],
                "others": max(len(labels) - _LABELS_SHOWN, 0),
            }
        )
    return found
