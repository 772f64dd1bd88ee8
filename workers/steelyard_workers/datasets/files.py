"""A dataset's folder on disk: its census, its texts, its pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from steelyard_contracts.datasets.layouts import Census, split_of
from steelyard_contracts.errors import DatasetUnusableError
from steelyard_workers.images import CACHE_BYTES, UNREADABLE, decode, unreadable


def census_of(root: Path) -> Census:
    """What lies where under `root`; hidden files are somebody's notes."""
    return Census.of(_paths(root))


def _paths(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def class_folder(root: Path, split: str) -> Path:
    """Where an ImageFolder's split lies, whichever way its name is spelled. Raises: DatasetUnusableError."""
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and split_of(folder.name) == split:
            return folder
    raise DatasetUnusableError(f"The dataset has no {split} split.", split=split)


def text_of(root: Path, path: str) -> str:
    return (root / path).read_text(encoding="utf-8", errors="replace")


def json_of(root: Path, path: str) -> Any:
    """Raises: DatasetUnusableError."""
    try:
        return json.loads(text_of(root, path))
    except ValueError as error:
        raise DatasetUnusableError(f"{path} is no JSON: {error}", where=path) from error


class Pictures:
    """Pictures as (N, 3, size, size) bytes: decoded once and kept when they fit, else decoded as needed.

    Raises: DatasetUnusableError, naming a picture that cannot be read.
    """

    channels = 3

    def __init__(self, root: Path, names: list[str], *, size: int) -> None:
        self.names = names
        self.size = size
        self._root = root
        fits = len(names) * self.channels * size * size <= CACHE_BYTES
        self._kept = self._decode(list(range(len(names)))) if fits else None

    def __len__(self) -> int:
        return len(self.names)

    def pixels(self, indices: Tensor) -> Tensor:
        """(B, 3, size, size), uint8."""
        return self._kept[indices] if self._kept is not None else self._decode(indices.tolist())

    def _decode(self, indices: list[int]) -> Tensor:
        found = torch.empty((len(indices), self.channels, self.size, self.size), dtype=torch.uint8)
        for row, index in enumerate(indices):
            found[row] = decode(self._root / self.names[index], size=self.size, channels=self.channels)
        return found


def picture_size(root: Path, name: str) -> tuple[int, int]:
    """(width, height), from the picture's header. Raises: DatasetUnusableError."""
    try:
        with Image.open(root / name) as image:
            return image.size
    except UNREADABLE as error:
        raise unreadable("picture", name, error) from error


def mask_array(root: Path, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W): the number of each pixel's class. Raises: DatasetUnusableError."""
    try:
        with Image.open(root / name) as image:
            mode, found = image.mode, np.asarray(image)
    except UNREADABLE as error:
        raise unreadable("mask", name, error) from error
    if found.ndim != 2 or mode not in {"1", "L", "P", "I", "I;16"}:  # noqa: PLR2004 - height and width
        raise DatasetUnusableError(
            f"The mask {name} is a colour picture ({mode}). A mask holds the number of a class in each pixel, as an "
            "8-bit grey or palette PNG.",
            path=name,
        )
    if found.size and int(found.max()) > np.iinfo(np.uint8).max:
        raise DatasetUnusableError(f"The mask {name} has the value {found.max()}; the largest is 255.", path=name)
    return found.astype(np.uint8)
