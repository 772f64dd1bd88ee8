"""Pictures in ImageFolder layout as tensors: decoded once, kept as bytes when they fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.training import Augmentation
from steelyard_workers.preprocessing import MEAN, STD

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
CACHE_BYTES = 1024**3
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
_GREY_MODES = frozenset({"1", "L", "I;16"})


class ImageFolder:
    """One split: pictures as (N, C, H, W) bytes and labels as (N,) indices into `labels`.

    Raises:
        DatasetUnusableError: a picture that does not decode, named.
    """

    def __init__(self, root: Path, *, size: int, channels: int, labels: list[str]) -> None:
        self.labels = labels
        self.size = size
        self.channels = channels
        self.items = [(path, labels.index(path.parent.name)) for path in picture_paths(root)]
        self.targets = torch.tensor([label for _, label in self.items])
        fits = len(self.items) * channels * size * size <= CACHE_BYTES
        self._pixels = self._decode(range(len(self.items))) if fits else None

    def __len__(self) -> int:
        return len(self.items)

    def pixels(self, indices: Tensor) -> Tensor:
        """(B, C, H, W), uint8."""
        return self._pixels[indices] if self._pixels is not None else self._decode(indices.tolist())

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """In order, without augmentation: normalised pictures and labels."""
        for indices in split(torch.arange(len(self)), size):
            yield normalise(self.pixels(indices).float() / 255), self.targets[indices]

    def _decode(self, indices: range | list[int]) -> Tensor:
        found = torch.empty((len(indices), self.channels, self.size, self.size), dtype=torch.uint8)
        for row, index in enumerate(indices):
            found[row] = decode(self.items[index][0], size=self.size, channels=self.channels)
        return found


def split(indices: Tensor, size: int) -> list[Tensor]:
    """Batches of `size`; a last one of a single picture joins the one before, as BatchNorm cannot learn from one."""
    batches = list(torch.split(indices, size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def spread(count: int, most: int) -> Tensor:
    """(up to `most`,) indices of `count`, evenly spread, as pictures stand by their classes."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def picture_paths(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*/*") if path.suffix.lower() in SUFFIXES)


def labels_of(root: Path) -> list[str]:
    return sorted({path.parent.name for path in picture_paths(root)})


def channels_of(root: Path) -> int:
    """1 for grey pictures, else 3; judged by the first, as a dataset is one or the other.

    Raises: DatasetUnusableError.
    """
    first = picture_paths(root)[0]
    try:
        with Image.open(first) as image:
            return 1 if image.mode in _GREY_MODES else 3
    except UNREADABLE as error:
        raise unreadable("picture", "/".join(first.parts[-3:]), error) from error


def unreadable(what: str, name: str, error: Exception) -> DatasetUnusableError:
    """`name`: within the dataset, which alone means something to whoever reads the sentence."""
    why = "it is no picture that is known here" if isinstance(error, UnidentifiedImageError) else str(error)
    return DatasetUnusableError(
        f"The {what} {name} cannot be read: {why}. Replace it, or take it out of the dataset.", path=name
    )


def decode(path: Path, *, size: int, channels: int) -> Tensor:
    """(C, H, W), uint8, bilinear. Raises: DatasetUnusableError."""
    try:
        with Image.open(path) as image:
            small = image.convert("L" if channels == 1 else "RGB").resize((size, size), Image.Resampling.BILINEAR)
    except UNREADABLE as error:
        raise unreadable("picture", "/".join(path.parts[-3:]), error) from error
    pixels = np.asarray(small).reshape(size, size, channels)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def normalise(pictures: Tensor) -> Tensor:
    """From 0..1 to what the network sees."""
    return (pictures - MEAN) / STD


def augment(pictures: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    """Moves and changes each picture of (B, C, H, W) in 0..1 a little; all that is drawn comes from `generator`."""
    count, device = len(pictures), pictures.device

    def spread() -> Tensor:
        return torch.rand(count, generator=generator) * 2 - 1

    angle, scale = spread() * how.rotation * math.pi / 180, 1 + spread() * how.scale
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    mirror = torch.where(spread() < 0, -1.0, 1.0) if how.flip else torch.ones(count)
    # The grid spans -1..1, so a share of the size is twice as much there.
    rows = [
        torch.stack([cosine * mirror, -sine, spread() * how.shift * 2], 1),
        torch.stack([sine * mirror, cosine, spread() * how.shift * 2], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1).to(device), list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)
    if how.brightness or how.contrast:
        moved = _relit(moved, 1 + spread() * how.contrast, spread() * how.brightness)
    return moved


def _relit(pictures: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Contrast around each picture's mean, then brightness, both (B,); kept within 0..1."""
    mean = pictures.mean((1, 2, 3), keepdim=True)
    factor, offset = (one.to(pictures.device).view(-1, 1, 1, 1) for one in (contrast, brightness))
    return ((pictures - mean) * factor + mean + offset).clamp(0, 1)
