"""Pictures with boxes, as tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from steelyard_contracts.datasets import boxes
from steelyard_contracts.datasets.boxes import Box
from steelyard_contracts.datasets.layouts import Census
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_workers.datasets.boxed import read_boxes
from steelyard_workers.datasets.files import Pictures, picture_size


class DetectionSplit:
    """One split: pictures scaled to a square, and boxes as shares of their sides, which scaling does not change.

    Attributes:
        labels: what the numbers stand for.
        pictures: (N, 3, size, size) bytes, by index.
        sizes: (N, 2), int64: each picture's own width and height.
        boxes: for each picture (n, 4), float32 in 0..1: left, top, right, bottom.
        targets: for each picture (n,), int64: indices into `labels`.
        left_out: how many boxes were not taken, because they are empty or mark a crowd.

    Raises:
        DatasetUnusableError: a picture that cannot be read, a box outside its picture, a label that is not in `labels`.
    """

    def __init__(self, root: Path, census: Census, split: str, *, size: int, labels: list[str] | None = None) -> None:
        found = read_boxes(root, census, split)
        self.labels = labels if labels is not None else found.labels
        self.boxes: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.left_out = 0
        names, sizes = list(found.pictures), []
        for name in names:
            width, height = picture_size(root, name)
            sizes.append((width, height))
            self._add(found.origins[name], found.pictures[name], width, height)
        self.sizes = torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2)
        self.pictures = Pictures(root, names, size=size)

    def __len__(self) -> int:
        return len(self.pictures)

    def _add(self, where: str, found: list[Box], width: int, height: int) -> None:
        rows, targets = [], []
        for box in found:
            if box.is_empty or box.is_crowd:
                self.left_out += 1
                continue
            across, down = (1.0, 1.0) if box.is_relative else (float(width), float(height))
            if box.is_outside(across, down):
                raise boxes.outside(where, box, across, down)
            targets.append(self._number_of(where, box.label))
            rows.append([box.left / across, box.top / down, box.right / across, box.bottom / down])
        self.boxes.append(torch.tensor(rows, dtype=torch.float32).reshape(-1, 4).clamp(0, 1))
        self.targets.append(torch.tensor(targets, dtype=torch.int64))

    def _number_of(self, where: str, label: str) -> int:
        try:
            return self.labels.index(label)
        except ValueError as error:
            known = ", ".join(self.labels[:20])
            raise DatasetUnusableError(
                f"{where} has the label {label!r}, which is not known here. Known are: {known}.", where=where
            ) from error

    def boxes_in_pixels(self, index: int) -> Tensor:
        """(n, 4): left, top, right, bottom in pixels of the picture as it is stored."""
        return self.boxes[index] * self.sizes[index].repeat(2)
