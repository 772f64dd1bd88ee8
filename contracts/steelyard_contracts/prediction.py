"""Asking a version what it makes of a few pictures, and its answer."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, Field

from steelyard_contracts.wire import WireModel

MOST_PICTURES = 16
LARGEST_PICTURE = 10 * 1024 * 1024  # bytes
LARGEST_REQUEST = 32 * 1024 * 1024  # bytes of all pictures together
MOST_PIXELS = 50_000_000  # of one picture
TOP, THRESHOLD = 5, 0.3


class PredictionState(StrEnum):
    """Drawn: waiting -> done | failed."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class PredictionRequest(WireModel):
    """Pictures as base64, where a form with files does not suit."""

    pictures: list[str] = Field(min_length=1, max_length=MOST_PICTURES)
    top: int = Field(TOP, ge=1, le=100, description="Labels of each picture, the likeliest first.")
    threshold: float = Field(THRESHOLD, ge=0, le=1, description="Boxes that are less sure are left out.")


class ScoredLabel(BaseModel):
    label: str
    score: float


class ClassShare(ScoredLabel):
    """Of the pixels. `colour` is what the mask paints them with, as #rrggbb; None where it leaves them clear."""

    colour: str | None = None


class FoundBox(BaseModel):
    """`box`: left, top, right and bottom, in pixels of the picture as it was sent."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class PicturePrediction(BaseModel):
    """Of one picture: `labels` of a classifier, `boxes` of a detector, `shares` of pixels and `mask` of a segmentation.

    `mask` is a small palette PNG as base64, to lie over the picture. `latency_ms`: the network's own time.
    """

    width: int
    height: int
    latency_ms: float
    labels: list[ScoredLabel] = Field(default_factory=list)
    boxes: list[FoundBox] = Field(default_factory=list)
    shares: list[ClassShare] = Field(default_factory=list)
    mask: str | None = None


class PredictionAnswer(BaseModel):
    """What was said, by which file in which runtime: `version` may be an ONNX variant of the one that was asked."""

    task: str
    runtime: str
    version: str
    file: str
    pictures: list[PicturePrediction]


class PredictionView(BaseModel):
    """Kept for some minutes, for whoever asked."""

    id: UUID
    state: PredictionState
    answer: PredictionAnswer | None = None
    error: str | None = None
