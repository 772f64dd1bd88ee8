"""Real pictures: scikit-learn's bundled scans of handwritten digits, as PNG files in ImageFolder layout.

The 1,797 scans are the test part of the UCI "Optical Recognition of Handwritten Digits" set.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

BASE_DIGITS, NEW_DIGITS = range(7), range(7, 10)
SHOTS = 20  # training pictures of each new digit
_TRAIN_SHARE = 0.8
_SEED = 7


def write_digits(root: Path) -> tuple[Path, Path]:
    """Writes `base` (0 to 6) and `new` (7 to 9, few to train on) once; returns their folders."""
    base, new = root / "base", root / "new"
    if (root / "complete").exists():
        return base, new
    from sklearn.datasets import load_digits

    scans = load_digits()
    pixels = (scans.images * 255 / 16).round().clip(0, 255).astype("uint8")
    for digit in (*BASE_DIGITS, *NEW_DIGITS):
        indices = [index for index, target in enumerate(scans.target) if target == digit]
        random.Random(_SEED + digit).shuffle(indices)  # noqa: S311 - a split, not a secret
        cut = SHOTS if digit in NEW_DIGITS else round(len(indices) * _TRAIN_SHARE)
        home = new if digit in NEW_DIGITS else base
        for split, chosen in (("train", indices[:cut]), ("validation", indices[cut:])):
            _write(home / split / str(digit), pixels, chosen)
    for home, title in ((base, "Digits 0 to 6"), (new, "Digits 7 to 9, few to train on")):
        (home / "README.md").write_text(_CARD.format(title=title))
    (root / "complete").touch()
    return base, new


def _write(folder: Path, pixels: Any, indices: list[int]) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for index in indices:
        Image.fromarray(pixels[index]).save(folder / f"{index:04d}.png")


_CARD = """---
task_categories:
- image-classification
tags:
- handwriting
license: cc-by-4.0
---

# {title}

Scans of handwritten digits, 8 x 8 grey pixels, from the UCI set *Optical Recognition of Handwritten Digits* as
scikit-learn bundles it. Laid out as `split/label/picture.png`.
"""
