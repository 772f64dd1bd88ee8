"""Annotations of boxes, read from COCO, YOLO or `metadata.jsonl`: which pictures, which boxes on each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from steelyard_contracts.datasets import boxes
from steelyard_contracts.datasets.boxes import Box, CocoPicture
from steelyard_contracts.datasets.layouts import Census, Layout, find_picture, label_file_of
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_workers.datasets.files import json_of, text_of


@dataclass
class BoxedPictures:
    """One split.

    Attributes:
        labels: the classes, in the order that the dataset has them in.
        pictures: path to boxes, for every picture of the split; those without boxes too.
        origins: path to where its boxes are written, for errors.
    """

    labels: list[str]
    pictures: dict[str, list[Box]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, origin: str, found: list[Box]) -> None:
        self.pictures.setdefault(path, []).extend(found)
        self.origins.setdefault(path, origin)


def read_boxes(root: Path, census: Census, split: str) -> BoxedPictures:
    """Raises: DatasetUnusableError, naming the annotation that is wrong."""
    match census.layout:
        case Layout.COCO:
            return _from_coco(root, census, split)
        case Layout.YOLO:
            return _from_yolo(root, census, split)
        case Layout.METADATA:
            return _from_metadata(root, census, split)
        case Layout.IMAGEFOLDER | Layout.MASKS | None:
            raise DatasetUnusableError("The dataset holds no boxes that can be read: see its page for its layout.")


def annotation_file(census: Census, layout: Layout, split: str) -> str:
    """Raises: DatasetUnusableError."""
    files = census.annotations[layout]
    if split not in files:
        raise DatasetUnusableError(f"The dataset has no {split} split, only: {', '.join(files)}.", split=split)
    return files[split]


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A COCO file with its parts looked up: pictures by their ids, with their paths."""

    path: str
    labels: dict[int, str]
    pictures: dict[int, CocoPicture]
    paths: dict[int, str]
    annotations: list[Mapping[str, Any]]


def read_coco(root: Path, census: Census, split: str) -> CocoFile:
    """Raises: DatasetUnusableError for what is missing, or cannot be meant."""
    path = annotation_file(census, Layout.COCO, split)
    content = json_of(root, path)
    if not isinstance(content, dict):
        raise DatasetUnusableError(f"{path} must hold an object with images, annotations and categories.", where=path)
    labels = boxes.coco_labels(path, content.get("categories", []))
    pictures: dict[int, CocoPicture] = {}
    paths: dict[int, str] = {}
    for entry in content.get("images", []):
        picture = boxes.coco_picture(path, entry)
        found = find_picture(census, path, picture.name)
        if found is None:
            raise boxes.missing_picture(path, picture.name)
        pictures[picture.number], paths[picture.number] = picture, found
    return CocoFile(path, labels, pictures, paths, content.get("annotations", []))


def _from_coco(root: Path, census: Census, split: str) -> BoxedPictures:
    file = read_coco(root, census, split)
    found = BoxedPictures(list(file.labels.values()))
    for number, path in file.paths.items():
        found.add(path, f"{file.path}, {file.pictures[number].name}", [])
    for entry in file.annotations:
        number, box = boxes.coco_box(file.path, entry, file.labels)
        if number not in file.paths:
            raise boxes.missing_picture(file.path, f"with the id {number}")
        found.pictures[file.paths[number]].append(box)
    return found


def _from_yolo(root: Path, census: Census, split: str) -> BoxedPictures:
    pictures = census.pictures_by_split()
    if split not in pictures:
        raise DatasetUnusableError(f"The dataset has no {split} split, only: {', '.join(pictures)}.", split=split)
    names_file = census.names_file or ""
    try:
        described = yaml.safe_load(text_of(root, names_file))
    except yaml.YAMLError as error:
        raise DatasetUnusableError(f"{names_file} is no YAML: {error}", where=names_file) from error
    found = BoxedPictures(boxes.yolo_labels(names_file, described))
    texts = set(census.label_files.get(split, []))
    for path in pictures[split]:
        text = label_file_of(path)
        # A picture without a text shows nothing: that is how YOLO writes it.
        lines = boxes.yolo_boxes(text, text_of(root, text), found.labels) if text in texts else []
        found.add(path, text, lines)
        texts.discard(text)
    if texts:
        raise boxes.missing_picture(min(texts), "of the same name")
    return found


def _from_metadata(root: Path, census: Census, split: str) -> BoxedPictures:
    path = annotation_file(census, Layout.METADATA, split)
    names = class_names(root, census)
    seen: dict[str, None] = defaultdict()
    found = BoxedPictures(names)
    for number, line in enumerate(text_of(root, path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        name, row = boxes.metadata_row(where, line, names)
        picture = find_picture(census, path, name)
        if picture is None:
            raise boxes.missing_picture(where, name)
        found.add(picture, where, row)
        seen.update(dict.fromkeys(box.label for box in row))
    found.labels = names or sorted(seen)
    return found


def class_names(root: Path, census: Census) -> list[str]:
    """Of `classes.json` or `classes.txt`; none where there is neither."""
    path = census.classes_file
    return boxes.class_names(path, text_of(root, path)) if path else []
