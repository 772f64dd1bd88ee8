"""Curves over all thresholds of a score: ROC and precision/recall, the areas under them, and few points of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_POINTS = 200


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y), x ascending, at most `MOST_POINTS`; `area` is of all points, before any were left out."""

    x: Floats
    y: Floats
    area: float


@dataclass(frozen=True, slots=True)
class Counts:
    """At each distinct score, highest first: how many positives and negatives score at least that much."""

    true_positives: Floats
    false_positives: Floats


def counts_of(scores: Floats, positives: NDArray[np.bool_]) -> Counts:
    """(N,) scores and whether each is a positive. Equal scores are one threshold."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positives[order])[ends].astype(np.float64)
    return Counts(hits, ends + 1 - hits)


def roc(counts: Counts) -> Curve | None:
    """False positive rate to true positive rate, from (0, 0) to (1, 1); None without positives or negatives."""
    positives, negatives = counts.true_positives[-1], counts.false_positives[-1]
    if not positives or not negatives:
        return None
    x = np.append(0.0, counts.false_positives / negatives)
    y = np.append(0.0, counts.true_positives / positives)
    return Curve(*thinned(x, y), area=float(np.trapezoid(y, x)))


def precision_recall(counts: Counts) -> Curve | None:
    """Recall to precision; the area is average precision, a sum of steps. None without positives."""
    positives = counts.true_positives[-1]
    if not positives:
        return None
    recall = counts.true_positives / positives
    precision = counts.true_positives / (counts.true_positives + counts.false_positives)
    area = float(np.sum(np.diff(np.append(0.0, recall)) * precision))
    return Curve(*thinned(np.append(0.0, recall), np.append(precision[0], precision)), area=area)


def thinned(x: Any, y: Any, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """At most `most` of the points, the ends among them, spread evenly along the curve's length."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) <= most:
        return x, y
    length = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    chosen = np.unique(np.searchsorted(length, np.linspace(0, length[-1], most)).clip(0, len(x) - 1))
    chosen[-1] = len(x) - 1
    return x[chosen], y[chosen]
