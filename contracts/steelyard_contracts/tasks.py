"""What a network is for."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Task(StrEnum):
    """By the Hub's name of it. Each has a recipe of its own."""

    CLASSIFICATION = "image-classification"
    DETECTION = "object-detection"
    SEGMENTATION = "image-segmentation"  # a class for each pixel

    @property
    def label(self) -> str:
        """As a heading says it."""
        return self.replace("-", " ").capitalize()

    @classmethod
    def of_architectures(cls, names: Iterable[str]) -> Task | None:
        """What the `architectures` of a `config.json` are for; None for what is none of these tasks."""
        return next((task for name in names for ending, task in _ENDINGS if name.endswith(ending)), None)


_ENDINGS = (
    ("ForImageClassification", Task.CLASSIFICATION),
    ("ForObjectDetection", Task.DETECTION),
    ("ForSemanticSegmentation", Task.SEGMENTATION),
)
