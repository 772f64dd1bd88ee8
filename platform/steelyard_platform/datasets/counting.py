"""What a dataset holds, counted from its paths and its annotation files. No picture is read.

Annotation files are read as streams, one record at a time: COCO's can be larger than the memory of the process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ijson

from steelyard_contracts.datasets import boxes
from steelyard_contracts.datasets.boxes import Box, CocoPicture
from steelyard_contracts.datasets.layouts import (
    Census,
    Layout,
    find_picture,
    label_file_of,
    mask_of,
    missing_mask,
)
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.training import Task
from steelyard_platform.repos import tree
from steelyard_platform.repos.blobs import blob_bytes, read_blob
from steelyard_platform.repos.bulk_reading import read_many
from steelyard_platform.repos.card import parse_metadata
from steelyard_platform.repos.models import Entry, Version

# Bytes of a file of class names, of one YOLO text, and of a line of metadata.
_NAMES_BYTES, _TEXT_BYTES, _LINE_BYTES = 1024**2, 4 * 1024**2, 16 * 1024**2
_FAULTS_KEPT = 5
_PATHS_AT_ONCE = 500


@dataclass
class Counts:
    """What was counted. `splits`: pictures by label for classes, boxes by label for detection."""

    layout: Layout | None = None
    tasks: list[Task] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    pictures: dict[str, int] = field(default_factory=dict)
    splits: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    faults: list[str] = field(default_factory=list)
    fault_count: int = 0

    def note(self, fault: DatasetUnusableError) -> None:
        self.fault_count += 1
        if len(self.faults) < _FAULTS_KEPT:
            self.faults.append(str(fault))

    def note_box(self, split: str, where: str, box: Box, size: tuple[float, float] | None) -> None:
        """`size` is the picture's, where it is known without opening it."""
        if box.is_empty:
            return
        self.splits[split][box.label] += 1
        if size is not None and box.is_outside(*size):
            self.note(boxes.outside(where, box, *size))


def take_census(version: Version) -> Census:
    """Pictures' paths are kept only where annotations name them: a folder of classes may hold millions."""
    census = Census.of(paths_of(version), keeps_pictures=False)
    if census.layout in {None, Layout.IMAGEFOLDER}:
        return census
    return Census.of(paths_of(version))


def paths_of(version: Version) -> Iterable[str]:
    return tree.entries_at(version).values_list("path", flat=True).iterator(chunk_size=5000)


def count(version: Version, census: Census) -> Counts:
    """Whatever is wrong is noted, not raised."""
    counts = Counts(census.layout)
    try:
        match census.layout:
            case Layout.IMAGEFOLDER:
                _count_classes(census, counts)
            case Layout.COCO:
                _count_coco(version, census, counts)
            case Layout.YOLO:
                _count_yolo(version, census, counts)
            case Layout.METADATA:
                _count_metadata(version, census, counts)
            case Layout.MASKS:
                _count_masks(version, census, counts)
            case None:
                pass
    except DatasetUnusableError as fault:
        counts.note(fault)
    return counts


def _count_classes(census: Census, counts: Counts) -> None:
    counts.tasks = [Task.CLASSIFICATION]
    counts.splits = dict(census.classes)
    counts.pictures = {split: found.total() for split, found in census.classes.items()}
    counts.labels = sorted({label for found in census.classes.values() for label in found})


# --- COCO ----------------------------------------------------------------------------------------


def _count_coco(version: Version, census: Census, counts: Counts) -> None:
    counts.tasks = [Task.DETECTION]
    files = census.annotations[Layout.COCO]
    labels: dict[str, None] = {}
    for split, path in sorted(files.items()):
        entry = tree.entry_at(version, path)
        categories, pictures = coco_head(entry, counts.note)
        for picture in pictures.values():
            if find_picture(census, path, picture.name) is None:
                counts.note(boxes.missing_picture(path, picture.name))
        counts.pictures[split] = len(pictures)
        labels.update(dict.fromkeys(categories.values()))
        for record in records_of(entry, "annotations.item"):
            _count_coco_box(record, split, path, categories, pictures, counts)
    counts.labels = list(labels)


def coco_head(
    entry: Entry, note: Callable[[DatasetUnusableError], None] | None = None
) -> tuple[dict[int, str], dict[int, CocoPicture]]:
    """(labels, pictures by their ids). Raises: DatasetUnusableError, unless `note` takes what a picture lacks."""
    path = entry.path
    categories = boxes.coco_labels(path, list(records_of(entry, "categories.item")))
    pictures: dict[int, CocoPicture] = {}
    for record in records_of(entry, "images.item"):
        try:
            picture = boxes.coco_picture(path, record)
        except DatasetUnusableError as fault:
            if note is None:
                raise
            note(fault)
            continue
        pictures[picture.number] = picture
    return categories, pictures


def _count_coco_box(
    record: Any,
    split: str,
    path: str,
    categories: dict[int, str],
    pictures: dict[int, CocoPicture],
    counts: Counts,
) -> None:
    try:
        number, box = boxes.coco_box(path, record, categories)
    except DatasetUnusableError as fault:
        counts.note(fault)
        return
    picture = pictures.get(number)
    if picture is None:
        counts.note(boxes.missing_picture(path, f"with the id {number}"))
        return
    counts.note_box(split, f"{path}, {picture.name}", box, (picture.width, picture.height))
    if record.get("segmentation") and Task.SEGMENTATION not in counts.tasks:
        counts.tasks.append(Task.SEGMENTATION)


def records_of(entry: Entry, prefix: str) -> Iterator[Any]:
    """The items of one list of a JSON file. Raises: DatasetUnusableError for what is no JSON."""
    assert entry.blob is not None  # noqa: S101 - what a version shows has content
    try:
        yield from ijson.items(_Reader(read_blob(entry.blob)), prefix, use_float=True)
    except ijson.JSONError as error:
        raise DatasetUnusableError(f"{entry.path} is no JSON: {error}", where=entry.path) from error


class _Reader:
    """Chunks as a file that can be read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def read(self, size: int) -> bytes:
        if not self._left:
            self._left = next(self._chunks, b"")
        found, self._left = self._left[:size], self._left[size:]
        return found


# --- YOLO ----------------------------------------------------------------------------------------


def _count_yolo(version: Version, census: Census, counts: Counts) -> None:
    counts.tasks = [Task.DETECTION]
    counts.labels = yolo_names(version, census)
    by_split = census.pictures_by_split()
    counts.pictures = {split: len(paths) for split, paths in by_split.items()}
    expected = {label_file_of(picture) for paths in by_split.values() for picture in paths}
    for split, texts in sorted(census.label_files.items()):
        for path in texts:
            if path not in expected:
                counts.note(boxes.missing_picture(path, "of the same name"))
        for path, text in texts_of(version, texts):
            try:
                for box in boxes.yolo_boxes(path, text, counts.labels):
                    counts.note_box(split, path, box, (1.0, 1.0))
            except DatasetUnusableError as fault:
                counts.note(fault)


def yolo_names(version: Version, census: Census) -> list[str]:
    """Raises: DatasetUnusableError."""
    path = census.names_file or ""
    described, fault = parse_metadata(_text_of(version, path))
    if fault:
        raise DatasetUnusableError(f"{path}: {fault}", where=path)
    return boxes.yolo_labels(path, described)


def texts_of(version: Version, paths: list[str]) -> Iterator[tuple[str, str]]:
    for start in range(0, len(paths), _PATHS_AT_ONCE):
        entries = tree.entries_for_paths(version, paths[start : start + _PATHS_AT_ONCE])
        for path, data in read_many(entries.values(), limit=_TEXT_BYTES):
            yield path, data.decode(errors="replace")


# --- metadata.jsonl and masks --------------------------------------------------------------------


def _count_metadata(version: Version, census: Census, counts: Counts) -> None:
    counts.tasks = [Task.DETECTION]
    names = class_names_of(version, census)
    for split, path in sorted(census.annotations[Layout.METADATA].items()):
        counts.pictures[split] = 0
        for number, line in enumerate(lines_of(tree.entry_at(version, path)), start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                picture, found = boxes.metadata_row(where, line, names)
            except DatasetUnusableError as fault:
                counts.note(fault)
                continue
            counts.pictures[split] += 1
            if find_picture(census, path, picture) is None:
                counts.note(boxes.missing_picture(where, picture))
            for box in found:
                counts.note_box(split, where, box, None)
    counts.labels = names or sorted({label for split in counts.splits.values() for label in split})


def lines_of(entry: Entry) -> Iterator[str]:
    """Raises: DatasetUnusableError for one that is too long to be meant."""
    assert entry.blob is not None  # noqa: S101 - what a version shows has content
    left = b""
    for chunk in read_blob(entry.blob):
        *whole, left = (left + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
        if len(left) > _LINE_BYTES:
            raise DatasetUnusableError(f"{entry.path} has a line of more than {_LINE_BYTES} bytes.", where=entry.path)
    if left:
        yield left.decode(errors="replace")


def _count_masks(version: Version, census: Census, counts: Counts) -> None:
    counts.tasks = [Task.SEGMENTATION]
    counts.labels = class_names_of(version, census)
    by_split = census.pictures_by_split()
    masks = {mask for found in census.masks.values() for mask in found}
    for split, paths in by_split.items():
        counts.pictures[split] = len(paths)
        counts.splits[split] = Counter()
        for picture in paths:
            if mask_of(picture) not in masks:
                counts.note(missing_mask(picture))


def class_names_of(version: Version, census: Census) -> list[str]:
    path = census.classes_file
    return boxes.class_names(path, _text_of(version, path)) if path else []


def _text_of(version: Version, path: str) -> str:
    entry = tree.entry_at(version, path)
    assert entry.blob is not None  # noqa: S101 - what a version shows has content
    return blob_bytes(entry.blob, limit=_NAMES_BYTES).decode(errors="replace")
