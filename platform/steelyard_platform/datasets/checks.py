"""Whether a dataset fits a task: decided from its summary alone, one sentence for each reason.

A dataset without a validation split is as unusable as one with a single class: nothing that is trained on it could
be measured.
"""

from __future__ import annotations

from collections.abc import Iterable

from steelyard_contracts.datasets.layouts import TRAIN, VALIDATION, Layout
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.training import Task
from steelyard_platform.datasets.services import Summary

_LAYOUTS = {
    Task.CLASSIFICATION: "Lay images out as train/<label>/<file> and validation/<label>/<file>.",
    Task.DETECTION: (
        "Lay it out as COCO (annotations/instances_train.json, train/<file>), as YOLO (data.yaml, images/train/<file>, "
        "labels/train/<file>.txt) or with train/metadata.jsonl; and the same for validation."
    ),
    Task.SEGMENTATION: (
        "Lay it out as classes.json, train/images/<file> and train/masks/<file>.png, or as COCO with polygons; "
        "and the same for validation."
    ),
}
_MEANT = {
    Task.CLASSIFICATION: "images in classes",
    Task.DETECTION: "pictures with boxes",
    Task.SEGMENTATION: "pictures with masks",
}
_MIN_CLASSES = {Task.CLASSIFICATION: 2, Task.DETECTION: 1, Task.SEGMENTATION: 2}
_ONE_CLASS = {
    Task.CLASSIFICATION: "a classifier needs at least two",
    Task.SEGMENTATION: "segmentation needs at least two; the background is one of them",
}
_LABELS_SHOWN = 10


def check_for_task(
    summary: Summary, name: str, task: Task = Task.CLASSIFICATION, needs: Iterable[str] = (TRAIN, VALIDATION)
) -> None:
    """Raises: DatasetUnusableError."""
    wanted = tuple(needs)
    _check_layout(summary, name, task)
    if summary.fault_count:
        more = f" (and {summary.fault_count - 1} more such faults)" if summary.fault_count > 1 else ""
        raise DatasetUnusableError(f"The dataset {name} is not sound. {summary.faults[0]}{more}", dataset=name)
    _check_splits(summary, name, task, wanted)
    _check_labels(summary, name, task, wanted)


def _check_layout(summary: Summary, name: str, task: Task) -> None:
    if task in summary.tasks:
        return
    held = ""
    if summary.layout is Layout.IMAGEFOLDER and set(summary.labels) >= {"images", "masks"}:
        held = " Its masks need a classes.json beside them, a list of the classes' names."
    elif summary.layout is not None and summary.tasks:
        held = f" It lies as {summary.layout}, for {' and '.join(summary.tasks)}."
    raise DatasetUnusableError(
        f"The dataset {name} holds no {_MEANT[task]}, which {task} needs.{held} {_LAYOUTS[task]}", dataset=name
    )


def _check_splits(summary: Summary, name: str, task: Task, needs: tuple[str, ...]) -> None:
    for split in needs:
        if not summary.pictures.get(split):
            found = ", ".join(sorted(summary.pictures))
            raise DatasetUnusableError(
                f"The dataset {name} has no {split} split, only: {found}. {_LAYOUTS[task]}", dataset=name
            )
        if task is Task.DETECTION and not any(summary.splits.get(split, {}).values()):
            raise DatasetUnusableError(f"The {split} split of {name} has no box in any picture.", dataset=name)


def _check_labels(summary: Summary, name: str, task: Task, needs: tuple[str, ...]) -> None:
    counted = {split: {label for label, number in summary.splits.get(split, {}).items() if number} for split in needs}
    if task is Task.SEGMENTATION:
        counted = {split: set(summary.labels) for split in needs}
        if summary.layout is Layout.COCO:
            counted = {split: {"background", *summary.labels} for split in needs}
    for split, labels in counted.items():
        if len(labels) < _MIN_CLASSES[task]:
            only = next(iter(labels), "none")
            raise DatasetUnusableError(
                f"The {split} split of {name} has one class, {only!r}; {_ONE_CLASS[task]}.", dataset=name
            )
    if TRAIN in counted and (unknown := set().union(*counted.values()) - counted[TRAIN]):
        shown = ", ".join(sorted(unknown)[:_LABELS_SHOWN])
        raise DatasetUnusableError(
            f"The validation split of {name} has labels that train lacks: {shown}.", dataset=name
        )
