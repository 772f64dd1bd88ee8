"""Small pictures of what a version did worst on, for people to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from steelyard_contracts.evaluation import LARGEST_PICTURE

_SIDE = 192  # pixels
_QUALITY = 80
_TRUE, _SAID = "#16a34a", "#dc2626"

Box = Sequence[float]


def small_picture(path: Path, *, true: Sequence[Box] = (), said: Sequence[Box] = ()) -> str:
    """As base64 of a PNG, or of a JPEG where that would be large.

    Args:
        path: of a picture.
        true: boxes in its pixels, drawn green.
        said: boxes in its pixels, drawn red.
    """
    with Image.open(path) as image:
        whole = image.size
        small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    across, down = small.width / whole[0], small.height / whole[1]
    pen = ImageDraw.Draw(small)
    for boxes, colour in ((true, _TRUE), (said, _SAID)):
        for left, top, right, bottom in boxes:
            pen.rectangle((left * across, top * down, right * across, bottom * down), outline=colour, width=2)
    return encoded(small)


def encoded(picture: Any) -> str:
    """A PIL picture as base64 of a PNG, or of a JPEG where that would be large."""
    for form, options in (("PNG", {"optimize": True}), ("JPEG", {"quality": _QUALITY})):
        kept = io.BytesIO()
        picture.save(kept, form, **options)
        text = base64.b64encode(kept.getvalue()).decode()
        if len(text) <= LARGEST_PICTURE:
            break
    return text
