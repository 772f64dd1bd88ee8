"""Pictures that somebody sent: opened within limits, scaled as the network takes them. No torch."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.prediction import MOST_PIXELS
from steelyard_workers.preprocessing import Preprocessing

_FORMATS = ["PNG", "JPEG", "WEBP", "BMP"]
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class SentPicture:
    """`pixels` is (1, C, size, size) bytes; width and height are those of the picture as it was sent."""

    pixels: NDArray[np.uint8]
    width: int
    height: int


def open_picture(data: bytes, how: Preprocessing, *, number: int) -> SentPicture:
    """Raises: InvalidInputError, naming the picture by its place, from 1."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except _UNREADABLE as error:
        raise InvalidInputError(f"Picture {number + 1} cannot be read: {error}.") from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise InvalidInputError(
            f"Picture {number + 1} has {width} x {height} pixels; at most {MOST_PIXELS:,} pixels are taken."
        )
    try:
        small = image.convert("L" if how.channels == 1 else "RGB").resize(
            (how.size, how.size), Image.Resampling.BILINEAR
        )
    except _UNREADABLE as error:
        raise InvalidInputError(f"Picture {number + 1} cannot be read: {error}.") from error
    pixels = np.asarray(small, np.uint8).reshape(how.size, how.size, how.channels)
    return SentPicture(np.ascontiguousarray(pixels.transpose(2, 0, 1))[None], width, height)
