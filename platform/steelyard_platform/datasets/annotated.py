"""Every picture of a dataset version with what is known of it, one after the other: for those who take it elsewhere.

    for picture in annotated_pictures(version, Task.DETECTION):
        picture.path, picture.split, picture.boxes

Classification reads paths alone; detection reads the annotation files, and of pictures whose size nothing says, their
first bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from steelyard_contracts.datasets import boxes
from steelyard_contracts.datasets.boxes import Box
from steelyard_contracts.datasets.layouts import Census, Layout, find_picture, is_picture, label_file_of, split_of
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.tasks import Task
from steelyard_platform.datasets.counting import (
    class_names_of,
    coco_head,
    lines_of,
    records_of,
    take_census,
    texts_of,
    yolo_names,
)
from steelyard_platform.datasets.sizes import HEAD_BYTES, size_of_picture
from steelyard_platform.repos import tree
from steelyard_platform.repos.blobs import read_blob
from steelyard_platform.repos.models import Entry, Version

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Annotated:
    """A picture. `label` is its class; `boxes` are in shares of its sides, cut off at its edges."""

    path: str
    split: str
    label: str | None = None
    boxes: list[Box] = field(default_factory=list)


def annotated_pictures(version: Version, task: Task) -> Iterator[Annotated]:
    """Raises: DatasetUnusableError, also on the way, for a picture or a record that cannot be read."""
    census = take_census(version)
    if task is Task.CLASSIFICATION:
        yield from _of_folders(version)
        return
    match census.layout:
        case Layout.YOLO:
            yield from _of_yolo(version, census)
        case Layout.COCO:
            yield from _of_coco(version, census)
        case Layout.METADATA:
            yield from _of_metadata(version, census)
        case _:
            raise DatasetUnusableError(f"{version.repository.full_name}@{version.label} holds no pictures with boxes.")


def _of_folders(version: Version) -> Iterator[Annotated]:
    paths = tree.entries_at(version).order_by("path").values_list("path", flat=True)
    for path in paths.iterator(chunk_size=5000):
        folder, _, rest = path.partition("/")
        label, slash, name = rest.partition("/")
        if is_picture(path) and slash and "/" not in name:
            yield Annotated(path, split_of(folder), label=label)


def _of_yolo(version: Version, census: Census) -> Iterator[Annotated]:
    names = yolo_names(version, census)
    for split, pictures in census.pictures_by_split().items():
        for start in range(0, len(pictures), _AT_ONCE):
            some = pictures[start : start + _AT_ONCE]
            texts = dict(texts_of(version, [label_file_of(path) for path in some]))
            for path in some:
                text = label_file_of(path)
                yield Annotated(path, split, boxes=_kept(boxes.yolo_boxes(text, texts.get(text, ""), names)))


def _of_coco(version: Version, census: Census) -> Iterator[Annotated]:
    for split, file in sorted(census.annotations[Layout.COCO].items()):
        entry = tree.entry_at(version, file)
        categories, pictures = coco_head(entry)
        found: dict[int, list[Box]] = defaultdict(list)
        for record in records_of(entry, "annotations.item"):
            number, box = boxes.coco_box(file, record, categories)
            if not box.is_crowd:
                found[number].append(box)
        for number, picture in pictures.items():
            path = find_picture(census, file, picture.name)
            if path is None:
                raise boxes.missing_picture(file, picture.name)
            shares = [_in_shares(box, picture.width, picture.height) for box in found.get(number, [])]
            yield Annotated(path, split, boxes=_kept(shares))


def _of_metadata(version: Version, census: Census) -> Iterator[Annotated]:
    names = class_names_of(version, census)
    for split, file in sorted(census.annotations[Layout.METADATA].items()):
        rows = _rows_of(tree.entry_at(version, file), names, census)
        while some := dict(islice(rows, _AT_ONCE)):
            sizes = _sizes_of(version, [path for path, found in some.items() if found])
            for path, found in some.items():
                shares = [_in_shares(box, *sizes[path]) for box in found]
                yield Annotated(path, split, boxes=_kept(shares))


def _rows_of(entry: Entry, names: list[str], census: Census) -> Iterator[tuple[str, list[Box]]]:
    for number, line in enumerate(lines_of(entry), start=1):
        if not line.strip():
            continue
        where = f"{entry.path}, line {number}"
        name, found = boxes.metadata_row(where, line, names)
        path = find_picture(census, entry.path, name)
        if path is None:
            raise boxes.missing_picture(where, name)
        yield path, found


def _sizes_of(version: Version, paths: list[str]) -> dict[str, tuple[int, int]]:
    return {path: _size_of(entry) for path, entry in tree.entries_for_paths(version, paths).items()}


def _size_of(entry: Entry) -> tuple[int, int]:
    assert entry.blob is not None  # noqa: S101 - what a version shows has content
    size = size_of_picture(b"".join(read_blob(entry.blob, 0, HEAD_BYTES)))
    if size is None:
        raise DatasetUnusableError(
            f"{entry.path}: its width and height cannot be read from its first {HEAD_BYTES // 1024} KiB, and its boxes "
            "are in pixels. Save the picture anew, or leave it out.",
            where=entry.path,
        )
    return size


def _in_shares(box: Box, width: int, height: int) -> Box:
    return Box(box.label, box.left / width, box.top / height, box.right / width, box.bottom / height, is_relative=True)


def _kept(found: list[Box]) -> list[Box]:
    """Without boxes of no area, and cut off where they reach out of the picture."""
    cut = [
        Box(box.label, _within(box.left), _within(box.top), _within(box.right), _within(box.bottom), is_relative=True)
        for box in found
    ]
    return [box for box in cut if not box.is_empty]


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)
