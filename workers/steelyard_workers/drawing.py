"""Sample predictions as pictures: what is there beside what the network says, a few of them on one sheet."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SHOWN = 6  # pictures on a sheet
_COLUMNS = 3
_SIDE = 240  # pixels of a picture on the sheet
_GAP = 6
_SURE = 0.3  # boxes with a lower score are not drawn
_TRUTH = (255, 255, 255)
_PAPER = (30, 32, 36)
_INK = (0, 0, 0)
_RIGHT, _WRONG = (96, 211, 148), (255, 122, 122)
_IGNORED = 255
_OPAQUE = 0.55

Picture = NDArray[np.uint8]


def boxes_drawn(
    picture: Picture,
    truths: NDArray[Any],
    boxes: NDArray[Any],
    scores: NDArray[Any],
    numbers: NDArray[Any],
    labels: Sequence[str],
) -> Image.Image:
    """True boxes in white, found ones in their class's colour with its name and score.

    Args:
        picture: (H, W, 3).
        truths: (n, 4), left, top, right and bottom as shares of the sides.
        boxes: (m, 4), found ones, alike.
        scores: (m,).
        numbers: (m,), indices into `labels`.
        labels: the classes.
    """
    drawn = _enlarged(picture)
    pen = ImageDraw.Draw(drawn)
    for corners in truths * _SIDE:
        pen.rectangle([float(one) for one in corners], outline=_TRUTH, width=1)
    for corners, score, number in zip(boxes * _SIDE, scores, numbers, strict=True):
        if score >= _SURE:
            left, top, right, bottom = (float(one) for one in corners)
            colour = colour_of(int(number), len(labels))
            pen.rectangle([left, top, right, bottom], outline=colour, width=2)
            said = f"{labels[int(number)]} {score:.2f}"
            place = (left + 3, max(top - 13, 1.0))
            pen.rectangle(pen.textbbox(place, said), fill=colour, outline=colour, width=2)
            pen.text(place, said, fill=_INK)
    return drawn


def answer_drawn(picture: Picture, labels: Sequence[str], truth: int, shares: NDArray[Any]) -> Image.Image:
    """The network's answer and how sure it is, in green; in red, with the truth, when it is wrong.

    Args:
        picture: (H, W, 1 or 3).
        labels: the classes.
        truth: the picture's own.
        shares: (classes,), the network's.
    """
    drawn = _enlarged(picture if picture.shape[2] > 1 else picture.repeat(3, axis=2))
    answer = int(shares.argmax())
    said = f"{labels[answer]} {shares[answer]:.2f}"
    if answer != truth:
        said = f"{said}, is {labels[truth]}"
    pen = ImageDraw.Draw(drawn)
    pen.rectangle([0, _SIDE - 18, _SIDE, _SIDE], fill=_RIGHT if answer == truth else _WRONG)
    pen.text((5, _SIDE - 15), said, fill=_INK)
    return drawn


def masks_drawn(picture: Picture, truth: Picture, answer: Picture, classes: int) -> Image.Image:
    """The true mask over the left half's picture, the answer over the right half's; the first class stays clear."""
    halves = [_over(picture, mask, classes) for mask in (truth, answer)]
    drawn = Image.new("RGB", (_SIDE, _SIDE), _PAPER)
    for column, half in enumerate(halves):
        small = half.resize((_SIDE // 2 - 1, _SIDE // 2 - 1), Image.Resampling.NEAREST)
        drawn.paste(small, (column * (_SIDE // 2 + 1), _SIDE // 4))
    return drawn


def _over(picture: Picture, mask: Picture, classes: int) -> Image.Image:
    colours = np.array([(0, 0, 0), *(colour_of(number, classes) for number in range(1, classes))], dtype=np.float64)
    shown = (mask > 0) & (mask != _IGNORED)
    painted = picture.astype(np.float64)
    painted[shown] = (1 - _OPAQUE) * painted[shown] + _OPAQUE * colours[mask[shown]]
    return Image.fromarray(painted.astype(np.uint8))


def sheet(pictures: Sequence[Image.Image]) -> bytes:
    """A PNG with all of them in rows."""
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    step = _SIDE + _GAP
    paper = Image.new("RGB", (columns * step + _GAP, rows * step + _GAP), _PAPER)
    for number, picture in enumerate(pictures):
        paper.paste(picture, (_GAP + number % columns * step, _GAP + number // columns * step))
    file = io.BytesIO()
    paper.save(file, "PNG", compress_level=1)  # a training waits for it
    return file.getvalue()


def colour_of(number: int, count: int) -> tuple[int, int, int]:
    """A class's own, as far from its neighbours' as there are classes."""
    red, green, blue = colorsys.hsv_to_rgb(number / max(count, 1), 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _enlarged(picture: Picture) -> Image.Image:
    return Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
