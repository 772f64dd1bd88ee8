"""A dataset version in the form that this client trains from: NDJSON, the dataset in the first line, then its pictures.

    {"type": "dataset", "task": "detect", "name": "shapes", "class_names": {"0": "cat"}, "version": "v3"}
    {"type": "image", "file": "1.jpg", "url": "https://…", "split": "train", "annotations": {"boxes": [[0, …]]}}

A box is its class, then its centre, width and height in shares of the picture. The client keeps a text beside each
picture under the picture's name without its ending, so the names here differ in what stands before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from steelyard_contracts.datasets.boxes import Box
from steelyard_contracts.datasets.layouts import TRAIN, VALIDATION
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.tasks import Task
from steelyard_platform.datasets.annotated import Annotated, annotated_pictures
from steelyard_platform.datasets.checks import check_for_task
from steelyard_platform.datasets.services import Summary, existing_summary
from steelyard_platform.repos.models import Version

TASKS = {Task.CLASSIFICATION: "classify", Task.DETECTION: "detect"}
_SPLITS = {VALIDATION: "val"}
_DIGITS = 6


def task_of(summary: Summary, name: str) -> Task:
    """What the dataset is exported for. Raises: DatasetUnusableError for what is neither of the two."""
    task = next((task for task in summary.tasks if task in TASKS), None)
    if task is None:
        raise DatasetUnusableError(
            f"{name} holds neither pictures in classes nor pictures with boxes; only those go to Ultralytics.",
            dataset=name,
        )
    return task


def checked_summary(version: Version) -> Summary:
    """What the version holds, if it can be trained on. Raises: DatasetUnusableError; UnavailableError while counted."""
    summary, name = existing_summary(version), version.repository.full_name
    check_for_task(summary, name, task_of(summary, name), needs=[TRAIN])
    return summary


def lines_of(version: Version, url_of: Callable[[str], str]) -> Iterator[bytes]:
    """One line after the other; `url_of` says where a picture's path is fetched."""
    summary = checked_summary(version)
    name = version.repository.full_name
    task = task_of(summary, name)
    labels = {label: number for number, label in enumerate(summary.labels)}
    yield _line(
        {
            "type": "dataset",
            "task": TASKS[task],
            "name": version.repository.name,
            "description": f"{name}@{version.label}",
            "version": version.label,
            "class_names": {str(number): label for label, number in labels.items()},
        }
    )
    names = _Names()
    for picture in annotated_pictures(version, task):
        split = _SPLITS.get(picture.split, picture.split)
        yield _line(
            {
                "type": "image",
                "file": names.of(picture, split),
                "url": url_of(picture.path),
                "split": split,
                "annotations": _annotations(picture, labels),
            }
        )


def _annotations(picture: Annotated, labels: dict[str, int]) -> dict[str, Any]:
    if picture.label is not None:
        return {"classification": [labels[picture.label]]}
    return {"boxes": [_numbers(box, labels) for box in picture.boxes]}


def _numbers(box: Box, labels: dict[str, int]) -> list[float]:
    sides = box.right - box.left, box.bottom - box.top
    centre = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    return [labels[box.label], *(round(number, _DIGITS) for number in (*centre, *sides))]


class _Names:
    """A file name for each picture that no other of its split has, whatever folders they come from."""

    def __init__(self) -> None:
        self._taken = set[tuple[str, str | None, str]]()

    def of(self, picture: Annotated, split: str) -> str:
        stem, dot, ending = picture.path.rpartition("/")[2].rpartition(".")
        wanted, number = stem, 2
        while (split, picture.label, wanted.lower()) in self._taken:
            wanted, number = f"{stem}-{number}", number + 1
        self._taken.add((split, picture.label, wanted.lower()))
        return f"{wanted}{dot}{ending}"


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
