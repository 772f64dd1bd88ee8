"""Measures of a segmentation from the confusion of its pixels: intersection over union by class.

    found = measures(confusion)                      # (C, C) pixels: rows are true classes, columns answers
    found.headline()                                 # {"mean_iou": 0.71, "pixel_accuracy": 0.94}

Pixels that are to be ignored were never counted. The mean is over classes that occur, among the truths or the answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard_workers.measures.classification import confusion_of
from steelyard_workers.measures.curves import Floats

Numbers = NDArray[np.int64] | NDArray[np.float64]
IGNORED = 255


@dataclass(frozen=True, slots=True)
class SegmentationMeasures:
    """By class, in label order. `iou` is not a number for a class that does not occur; `support` counts pixels."""

    iou: Floats
    support: NDArray[np.int64]
    confusion: NDArray[np.int64]
    mean_iou: float
    pixel_accuracy: float

    def headline(self) -> dict[str, float]:
        return {"mean_iou": round(self.mean_iou, 6), "pixel_accuracy": round(self.pixel_accuracy, 6)}


def measures(confusion: NDArray[np.int64]) -> SegmentationMeasures:
    """Raises: ValueError when no pixel was counted."""
    if not confusion.sum():
        raise ValueError("there is nothing to measure: no pixel counts")
    right, answered, true = np.diag(confusion), confusion.sum(0), confusion.sum(1)
    iou = iou_of(right, answered, true)
    return SegmentationMeasures(
        iou=iou,
        support=true,
        confusion=confusion,
        mean_iou=float(np.nanmean(iou)),
        pixel_accuracy=float(right.sum() / confusion.sum()),
    )


def iou_of(right: Numbers, answered: Numbers, true: Numbers) -> Floats:
    """(…, C) intersection over union from counts of pixels; not a number where the union is empty."""
    right, union = np.asarray(right, np.float64), np.asarray(answered + true - right, np.float64)
    return np.divide(right, union, out=np.full_like(union, np.nan), where=union > 0)


def pixel_confusion(true: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(C, C) of two masks of the same shape; pixels whose truth is `IGNORED` do not count."""
    counted = true != IGNORED
    return confusion_of(true[counted].astype(np.int64), answers[counted].astype(np.int64), classes)
