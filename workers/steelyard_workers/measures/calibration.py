"""Whether a classifier is as sure as it is right: expected calibration error over bins of equal width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard_workers.measures.curves import Floats

BINS = 15


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of each bin of confidence: how many answers, their mean confidence, and the share that was right.

    Empty bins have a confidence and an accuracy of nought.
    """

    counts: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats
    error: float


def calibration(confidence: Floats, right: NDArray[np.bool_]) -> Calibration:
    """(N,) the highest probability of each answer, and whether it was right."""
    bins = bins_of(confidence)
    counts = np.bincount(bins, minlength=BINS)
    some = np.maximum(counts, 1)
    sure = np.bincount(bins, weights=confidence, minlength=BINS) / some
    share = np.bincount(bins, weights=right.astype(np.float64), minlength=BINS) / some
    error = float(np.sum(counts * np.abs(share - sure)) / len(confidence))
    return Calibration(counts, sure, share, error)


def bins_of(confidence: Floats) -> NDArray[np.int64]:
    """The bin of each: the first holds (0, 1/15], the last one ends with 1."""
    found: NDArray[np.int64] = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(np.int64)
    return found
