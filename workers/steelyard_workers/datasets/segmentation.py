"""Pictures with masks, as tensors. A mask gives each pixel the number of its class; 255 is not looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from steelyard_contracts.datasets import boxes
from steelyard_contracts.datasets.layouts import Census, Layout, mask_of, missing_mask
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_workers.datasets.boxed import CocoFile, class_names, read_coco
from steelyard_workers.datasets.files import Pictures, mask_array, picture_size
from steelyard_workers.images import CACHE_BYTES

IGNORED = 255
BACKGROUND = "background"
_MIN_POINTS = 6  # numbers of a triangle


class SegmentationSplit:
    """One split: pictures and masks scaled to a square, masks without blending.

    Attributes:
        labels: what the numbers stand for. Of COCO's polygons, number 0 is the background.
        pictures: (N, 3, size, size) bytes, by index.

    Raises:
        DatasetUnusableError: a mask that is missing, cannot be read, has another size than its picture or numbers
            that no class has.
    """

    def __init__(self, root: Path, census: Census, split: str, *, size: int, labels: list[str] | None = None) -> None:
        self._root, self._size = root, size
        self._coco: _Polygons | None = None
        if census.layout is Layout.COCO:
            self._coco = _Polygons(read_coco(root, census, split))
            own, names = self._coco.labels, self._coco.names
        else:
            own, names = class_names(root, census), _masked(census, split)
        self.labels = labels if labels is not None else own
        self._numbers = _renumbering(own, self.labels)
        self.pictures = Pictures(root, names, size=size)
        fits = len(names) * size * size <= CACHE_BYTES
        self._kept = self._draw(list(range(len(names)))) if fits else None

    def __len__(self) -> int:
        return len(self.pictures)

    def masks(self, indices: Tensor) -> Tensor:
        """(B, size, size), uint8."""
        return self._kept[indices] if self._kept is not None else self._draw(indices.tolist())

    def _draw(self, indices: list[int]) -> Tensor:
        found = torch.empty((len(indices), self._size, self._size), dtype=torch.uint8)
        for row, index in enumerate(indices):
            name = self.pictures.names[index]
            mask = self._coco.drawn(name, self._size) if self._coco else self._read(name)
            found[row] = torch.from_numpy(self._numbers[mask])
        return found

    def _read(self, picture: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        name = mask_of(picture)
        mask = mask_array(self._root, name)
        width, height = picture_size(self._root, picture)
        if mask.shape != (height, width):
            raise DatasetUnusableError(
                f"The mask {name} has {mask.shape[1]} x {mask.shape[0]} pixels; its picture has {width} x {height}.",
                path=name,
            )
        strange = np.setdiff1d(mask, np.flatnonzero(self._numbers != _UNKNOWN))
        if strange.size:
            raise DatasetUnusableError(
                f"The mask {name} has the value {strange[0]}, which is no class: there are "
                f"{len(self.labels)}, from 0, and 255 for what is not looked at.",
                path=name,
            )
        return np.asarray(Image.fromarray(mask).resize((self._size, self._size), Image.Resampling.NEAREST))


_UNKNOWN = 254


def _masked(census: Census, split: str) -> list[str]:
    """The split's pictures. Raises: DatasetUnusableError when one has no mask, or there are none."""
    pictures = census.pictures_by_split() if census.layout is Layout.MASKS else {}
    if split not in pictures:
        found = ", ".join(pictures) or "none"
        raise DatasetUnusableError(f"The dataset has no {split} split with masks, only: {found}.", split=split)
    masks = set(census.masks[split])
    for picture in pictures[split]:
        if mask_of(picture) not in masks:
            raise missing_mask(picture)
    return pictures[split]


def _renumbering(own: list[str], wanted: list[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(256,): from the dataset's numbers to those wanted. Raises: DatasetUnusableError for a label not wanted."""
    unknown = [label for label in own if label not in wanted]
    if unknown:
        raise DatasetUnusableError(
            f"The dataset has labels that are not known here: {', '.join(unknown)}. Known are: {', '.join(wanted)}."
        )
    if len(wanted) >= _UNKNOWN:
        raise DatasetUnusableError(f"There are {len(wanted)} classes; a mask has room for {_UNKNOWN - 1}.")
    numbers = np.full(256, _UNKNOWN, dtype=np.uint8)
    numbers[: len(own)] = [wanted.index(label) for label in own]
    numbers[IGNORED] = IGNORED
    return numbers


class _Polygons:
    """COCO's outlines, drawn where they are needed. Later annotations lie over earlier ones."""

    def __init__(self, file: CocoFile) -> None:
        self.labels = [BACKGROUND, *(label for label in file.labels.values() if label != BACKGROUND)]
        self.names = list(file.paths.values())
        self._file = file
        self._pictures = {path: file.pictures[number] for number, path in file.paths.items()}
        self._annotations: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in file.annotations:
            number, _ = boxes.coco_box(file.path, entry, file.labels)
            if number not in file.paths:
                raise boxes.missing_picture(file.path, f"with the id {number}")
            self._annotations[file.paths[number]].append(entry)

    def drawn(self, name: str, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """(size, size). Raises: DatasetUnusableError for outlines that are no polygons."""
        mask = Image.new("L", (size, size))
        pen, picture = ImageDraw.Draw(mask), self._pictures[name]
        scale = np.array([size / picture.width, size / picture.height])
        for entry in self._annotations[name]:
            if entry.get("iscrowd"):
                x, y, width, height = entry["bbox"]
                corners = np.array([[x, y], [x + width, y + height]]) * scale
                pen.rectangle([*corners.ravel().tolist()], fill=IGNORED)
                continue
            number = self.labels.index(self._file.labels[int(entry["category_id"])])
            for outline in self._outlines(entry, name):
                pen.polygon([tuple(point) for point in (outline * scale).tolist()], fill=number)
        return np.asarray(mask)

    def _outlines(self, entry: Mapping[str, Any], name: str) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
        try:
            found = [np.array(outline, dtype=np.float64) for outline in entry["segmentation"]]
            if not found or any(outline.size < _MIN_POINTS for outline in found):
                raise ValueError("no outline")  # noqa: TRY301 - one sentence for every way to be none
            return [outline.reshape(-1, 2) for outline in found]
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetUnusableError(
                f"{self._file.path}, {name}: an annotation has no polygon in 'segmentation': "
                "[[x, y, x, y, x, y, …], …] was expected.",
                where=name,
            ) from error
