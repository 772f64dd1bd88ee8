"""Boxes as COCO, YOLO and the Hub's `metadata.jsonl` write them, each made the same kind of value.

A record that cannot be meant raises `DatasetUnusableError`, which names the place and what to change. A box of no
width or height, as real collections have some, is no fault: whoever reads it leaves it out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steelyard_contracts.errors import DatasetUnusableError

_CORNERS = 4
# A box may reach this far out of its picture, as rounding does: a share of the side, and in pixels at least one.
_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Box:
    """Left, top, right and bottom: in pixels, or, when `is_relative`, in shares of the picture's sides."""

    label: str
    left: float
    top: float
    right: float
    bottom: float
    is_relative: bool = False
    is_crowd: bool = False

    @property
    def is_empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top

    def is_outside(self, width: float, height: float) -> bool:
        """Whether it reaches out of a picture of this size by more than rounding explains."""
        spare = 0.0 if self.is_relative else 1.0
        across, down = max(_TOLERANCE * width, spare), max(_TOLERANCE * height, spare)
        return self.left < -across or self.top < -down or self.right > width + across or self.bottom > height + down


def outside(where: str, box: Box, width: float, height: float) -> DatasetUnusableError:
    """The error for a box that `is_outside`."""
    unit = "of its sides" if box.is_relative else f"px; the picture has {width:g} x {height:g}"
    return DatasetUnusableError(
        f"{where}: the box of {box.label!r} reaches outside its picture, from ({box.left:g}, {box.top:g}) to "
        f"({box.right:g}, {box.bottom:g}) {unit}. Correct the annotation or leave it out.",
        where=where,
    )


def missing_picture(where: str, name: str) -> DatasetUnusableError:
    """The error for an annotation whose picture is not there."""
    return DatasetUnusableError(
        f"{where} names the picture {name}, which the dataset does not hold. Push it, or leave the annotation out.",
        where=where,
    )


def _from_corner(where: str, label: str, numbers: Any, *, is_crowd: bool = False) -> Box:
    """From [x, y, width, height] in pixels."""
    x, y, width, height = _four(where, numbers)
    return Box(label, x, y, x + width, y + height, is_crowd=is_crowd)


def _four(where: str, numbers: Any) -> list[float]:
    try:
        found = [float(number) for number in numbers]
    except (TypeError, ValueError) as error:
        raise _no_box(where, numbers) from error
    if len(found) != _CORNERS or not all(map(math.isfinite, found)):
        raise _no_box(where, numbers)
    return found


def _no_box(where: str, numbers: Any) -> DatasetUnusableError:
    shown = str(numbers)[:80]
    return DatasetUnusableError(f"{where}: a box is four numbers, [x, y, width, height]; this is {shown}.", where=where)


# --- COCO ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CocoPicture:
    """An entry of `images`."""

    number: int
    name: str
    width: int
    height: int


def coco_picture(where: str, entry: Mapping[str, Any]) -> CocoPicture:
    """Raises: DatasetUnusableError."""
    try:
        return CocoPicture(int(entry["id"]), str(entry["file_name"]), int(entry["width"]), int(entry["height"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetUnusableError(
            f"{where}: an entry of 'images' needs id, file_name, width and height; this has {_keys(entry)}.",
            where=where,
        ) from error


def coco_labels(where: str, categories: Sequence[Any]) -> dict[int, str]:
    """Names by category id, in the order of the ids. Raises: DatasetUnusableError."""
    try:
        return dict(sorted((int(entry["id"]), str(entry["name"])) for entry in categories))
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetUnusableError(f"{where}: an entry of 'categories' needs an id and a name.", where=where) from error


def coco_box(where: str, entry: Mapping[str, Any], labels: Mapping[int, str]) -> tuple[int, Box]:
    """(the picture's id, the box) of an entry of `annotations`. Raises: DatasetUnusableError."""
    try:
        picture, category = int(entry["image_id"]), int(entry["category_id"])
        numbers = entry["bbox"]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetUnusableError(
            f"{where}: an entry of 'annotations' needs image_id, category_id and bbox; this has {_keys(entry)}.",
            where=where,
        ) from error
    label = labels.get(category)
    if label is None:
        raise DatasetUnusableError(
            f"{where}: an annotation has the category_id {category}, which 'categories' lacks.", where=where
        )
    return picture, _from_corner(where, label, numbers, is_crowd=bool(entry.get("iscrowd", 0)))


def _keys(entry: Any) -> str:
    return ", ".join(map(str, entry)) or "none" if isinstance(entry, Mapping) else f"no fields: {str(entry)[:60]}"


# --- YOLO ----------------------------------------------------------------------------------------


def yolo_labels(where: str, described: Any) -> list[str]:
    """The names of `data.yaml`, a list or a mapping from number to name. Raises: DatasetUnusableError."""
    names = described.get("names") if isinstance(described, Mapping) else None
    if isinstance(names, Mapping):
        try:
            by_number = {int(number): str(name) for number, name in names.items()}
        except (TypeError, ValueError):
            by_number = {}
        if by_number and sorted(by_number) == list(range(len(by_number))):
            return [by_number[number] for number in range(len(by_number))]
    elif isinstance(names, Sequence) and not isinstance(names, str) and names:
        return [str(name) for name in names]
    raise DatasetUnusableError(
        f"{where} needs 'names': a list of the classes, or a mapping from 0, 1, 2 and so on to their names.",
        where=where,
    )


def yolo_boxes(where: str, text: str, labels: Sequence[str]) -> list[Box]:
    """The boxes of one picture: a line each, `class x y width height`, the centre and sides in shares.

    A line with a polygon (`class x y x y x y …`) is the box around it. Raises: DatasetUnusableError.
    """
    boxes = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            boxes.append(_yolo_box(f"{where}, line {number}", line.split(), labels))
    return boxes


def _yolo_box(where: str, words: list[str], labels: Sequence[str]) -> Box:
    try:
        index, numbers = int(float(words[0])), [float(word) for word in words[1:]]
    except ValueError:
        index, numbers = -1, []
    is_polygon = len(numbers) > _CORNERS and len(numbers) % 2 == 0
    if not (len(numbers) == _CORNERS or is_polygon) or not all(map(math.isfinite, numbers)):
        raise DatasetUnusableError(
            f"{where}: expected 'class x y width height', found {' '.join(words)[:80]!r}.", where=where
        )
    if not 0 <= index < len(labels):
        raise DatasetUnusableError(
            f"{where}: the class {index} is none of the {len(labels)} that data.yaml names.", where=where
        )
    if is_polygon:
        across, down = numbers[0::2], numbers[1::2]
        return Box(labels[index], min(across), min(down), max(across), max(down), is_relative=True)
    x, y, width, height = numbers
    return Box(labels[index], x - width / 2, y - height / 2, x + width / 2, y + height / 2, is_relative=True)


# --- the Hub's metadata.jsonl --------------------------------------------------------------------


def metadata_row(where: str, line: str, labels: Sequence[str] = ()) -> tuple[str, list[Box]]:
    """(the picture's name, its boxes) of one line.

    Args:
        where: the file and line, for errors.
        line: `{"file_name": "1.jpg", "objects": {"bbox": [[x, y, width, height]], "category": ["cat"]}}`.
        labels: what numbers stand for; without them a category that is a number is its own name.

    Raises: DatasetUnusableError.
    """
    try:
        row = json.loads(line)
        name = str(row["file_name"])
        objects = row.get("objects") or {"bbox": [], "category": []}
        numbers = objects["bbox"]
        categories = next(objects[key] for key in ("category", "categories") if key in objects)
        pairs = list(zip(categories, numbers, strict=True))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise DatasetUnusableError(
            f'{where}: expected {{"file_name": …, "objects": {{"bbox": [[x, y, width, height], …], '
            '"category": […]}}, with as many categories as boxes.',
            where=where,
        ) from error
    return name, [_from_corner(where, _label(where, category, labels), box) for category, box in pairs]


def _label(where: str, category: Any, labels: Sequence[str]) -> str:
    if not isinstance(category, int) or not labels:
        return str(category)
    if not 0 <= category < len(labels):
        raise DatasetUnusableError(
            f"{where}: the category {category} is none of the {len(labels)} classes that are named.", where=where
        )
    return labels[category]


# --- classes.json and classes.txt ----------------------------------------------------------------


def class_names(where: str, text: str) -> list[str]:
    """The names in the order of their numbers. Raises: DatasetUnusableError."""
    if where.endswith(".json"):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        return yolo_labels(where, {"names": found})
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise DatasetUnusableError(f"{where} needs a line for each class, in the order of their numbers.", where=where)
    return names
