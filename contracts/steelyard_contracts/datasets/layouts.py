"""A dataset's layout, told by the paths of its files alone.

    imagefolder   train/cat/1.jpg                                        classification
    coco          annotations/instances_train.json, train/1.jpg          detection; segmentation where it has polygons
                  train/_annotations.coco.json, train/1.jpg
    yolo          data.yaml, images/train/1.jpg, labels/train/1.txt      detection
                  data.yaml, train/images/1.jpg, train/labels/1.txt
    metadata      train/metadata.jsonl, train/1.jpg                      detection
    masks         classes.json, train/images/1.jpg, train/masks/1.png    segmentation

Splits are `train`, `validation` (also spelled `val` and `valid`) and whatever else there is, such as `test`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from steelyard_contracts.errors import DatasetUnusableError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
TRAIN, VALIDATION = "train", "validation"
_SPELLINGS = {"training": TRAIN, "val": VALIDATION, "valid": VALIDATION}
_NAMES_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_CLASSES_FILES = ("classes.json", "classes.txt")
_COCO_FILE = "_annotations.coco.json"
_METADATA_FILE = "metadata.jsonl"
_INSTANCES = re.compile(r"annotations/instances_(?P<name>[^/]+)\.json")
_YEAR = re.compile(r"\d{4}$")


class Layout(StrEnum):
    """What the files of a dataset lie like."""

    IMAGEFOLDER = "imagefolder"
    COCO = "coco"
    YOLO = "yolo"
    METADATA = "metadata"
    MASKS = "masks"


def split_of(folder: str) -> str:
    """The split that a folder's name stands for: `val2017` is `validation`."""
    plain = _YEAR.sub("", folder) or folder
    return _SPELLINGS.get(plain, plain)


def is_picture(path: str) -> bool:
    return path.lower().endswith(PICTURE_SUFFIXES)


@dataclass
class Census:
    """What a dataset's paths say, gathered in one pass: `for path in paths: census.add(path)`.

    Attributes:
        keeps_pictures: whether to keep the paths of pictures, which may be millions; counting classes needs none.
        pictures: every picture's path.
        annotations: for COCO and metadata, the annotation file of each split.
        label_files: for YOLO, the texts of each split.
        masks: for masks, the mask of each picture: path by path, by split.
        classes: for ImageFolder, pictures by split and label.
        names_file: YOLO's `data.yaml`.
        classes_file: `classes.json` or `classes.txt`.
    """

    keeps_pictures: bool = True
    pictures: set[str] = field(default_factory=set)
    annotations: dict[Layout, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    label_files: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    masks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    classes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    names_file: str | None = None
    classes_file: str | None = None

    @classmethod
    def of(cls, paths: Iterable[str], *, keeps_pictures: bool = True) -> Census:
        found = cls(keeps_pictures)
        for path in paths:
            found.add(path)
        return found

    def add(self, path: str) -> None:
        """Paths are relative to the dataset's root, with forward slashes."""
        if is_picture(path):
            self._add_picture(path)
        elif path.endswith(".txt") and (split := _split_beside(path, "labels")):
            self.label_files[split].append(path)
        elif path.endswith((".json", ".jsonl")):
            self._add_annotations(path)
        if path in _NAMES_FILES and self.names_file is None:
            self.names_file = path
        if path in _CLASSES_FILES and self.classes_file is None:
            self.classes_file = path

    def _add_picture(self, path: str) -> None:
        if self.keeps_pictures:
            self.pictures.add(path)
        folder, _, rest = path.partition("/")
        label, slash, name = rest.partition("/")
        if slash and "/" not in name:
            self.classes[split_of(folder)][label] += 1
        if label == "masks" and slash:
            self.masks[split_of(folder)].append(path)

    def _add_annotations(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        if instances := _INSTANCES.fullmatch(path):
            self.annotations[Layout.COCO][split_of(instances["name"])] = path
        elif folder and "/" not in folder and name == _COCO_FILE:
            self.annotations[Layout.COCO].setdefault(split_of(folder), path)
        elif folder and "/" not in folder and name == _METADATA_FILE:
            self.annotations[Layout.METADATA][split_of(folder)] = path

    @property
    def layout(self) -> Layout | None:
        """None for a dataset that lies like none of them. The most telling files decide."""
        if self.annotations[Layout.COCO]:
            return Layout.COCO
        if self.names_file and self.label_files:
            return Layout.YOLO
        if self.annotations[Layout.METADATA]:
            return Layout.METADATA
        if self.masks and self.classes_file:
            return Layout.MASKS
        return Layout.IMAGEFOLDER if self.classes else None

    def pictures_by_split(self) -> dict[str, list[str]]:
        """Of YOLO (`images/train/…` or `train/images/…`) and masks (`train/images/…`): the pictures, sorted."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.pictures):
            if split := _split_beside(path, "images"):
                found[split].append(path)
        return dict(found)


def _split_beside(path: str, folder: str) -> str | None:
    """`train` for `labels/train/1.txt` and `train/labels/1.txt` when `folder` is `labels`."""
    first, _, rest = path.partition("/")
    second, slash, _ = rest.partition("/")
    if not slash:
        return None
    if first == folder:
        return split_of(second)
    return split_of(first) if second == folder else None


def label_file_of(picture: str) -> str:
    """YOLO's text for a picture: `labels/train/1.txt` for `images/train/1.jpg`."""
    first, _, rest = picture.partition("/")
    stem = rest.rpartition(".")[0]
    if first == "images":
        return f"labels/{stem}.txt"
    return f"{first}/labels/{stem.partition('/')[2]}.txt"


def mask_of(picture: str) -> str:
    """The mask of a picture: `train/masks/1.png` for `train/images/1.jpg`."""
    split, _, rest = picture.partition("/")
    return f"{split}/masks/{rest.partition('/')[2].rpartition('.')[0]}.png"


def missing_mask(picture: str) -> DatasetUnusableError:
    """The error for a picture whose `mask_of` is not there."""
    return DatasetUnusableError(
        f"The picture {picture} has no mask; {mask_of(picture)} was expected. Push it, or leave the picture out.",
        where=picture,
    )


def find_picture(census: Census, annotations: str, name: str) -> str | None:
    """The path of the picture that an annotation file calls `name`; None when it is not there.

    COCO's files stand beside the pictures, or in `annotations/` with the pictures in one of the usual folders.
    """
    folder, _, _ = annotations.rpartition("/")
    beside = [folder]
    if instances := _INSTANCES.fullmatch(annotations):
        spelled = instances["name"]
        split = split_of(spelled)
        beside = [spelled, f"images/{spelled}", split, f"images/{split}", "images"]
    for candidate in [*(f"{place}/{name}" for place in beside), name]:
        if candidate in census.pictures:
            return candidate
    return None
