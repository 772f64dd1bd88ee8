"""Datasets of every layout as tensors: pictures with their boxes, pictures with their masks.

labels = open_split(root, "train", Task.DETECTION, size=640).labels
held_out = open_split(root, "validation", Task.DETECTION, size=640, labels=labels)
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from steelyard_contracts.training import Task
from steelyard_workers.datasets.detection import DetectionSplit
from steelyard_workers.datasets.files import census_of, class_folder
from steelyard_workers.datasets.segmentation import SegmentationSplit
from steelyard_workers.images import ImageFolder, channels_of, labels_of

__all__ = ["AnySplit", "open_split"]

AnySplit = ImageFolder | DetectionSplit | SegmentationSplit


@overload
def open_split(
    root: Path, split: str, task: Literal[Task.CLASSIFICATION], *, size: int, labels: list[str] | None = None
) -> ImageFolder: ...
@overload
def open_split(
    root: Path, split: str, task: Literal[Task.DETECTION], *, size: int, labels: list[str] | None = None
) -> DetectionSplit: ...
@overload
def open_split(
    root: Path, split: str, task: Literal[Task.SEGMENTATION], *, size: int, labels: list[str] | None = None
) -> SegmentationSplit: ...
@overload
def open_split(root: Path, split: str, task: Task, *, size: int, labels: list[str] | None = None) -> AnySplit: ...


def open_split(root: Path, split: str, task: Task, *, size: int, labels: list[str] | None = None) -> AnySplit:
    """One split of a dataset, whatever its layout.

    Args:
        root: the dataset's files.
        split: `train`, `validation` or another that it has; `val` and `valid` are found as `validation`.
        task: what is to be read of it.
        size: the side in pixels that pictures are scaled to, both ways.
        labels: what the numbers of the classes stand for; the split's own when none are given.

    Raises:
        DatasetUnusableError: naming the picture, the annotation or the label that is wrong.
    """
    match task:
        case Task.CLASSIFICATION:
            folder = class_folder(root, split)
            channels = channels_of(folder)
            return ImageFolder(folder, size=size, channels=channels, labels=labels or labels_of(folder))
        case Task.DETECTION:
            return DetectionSplit(root, census_of(root), split, size=size, labels=labels)
        case Task.SEGMENTATION:
            return SegmentationSplit(root, census_of(root), split, size=size, labels=labels)
