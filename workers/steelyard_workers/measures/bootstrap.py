"""How sure a figure is: percentile intervals over 1,000 resamples of the pictures.

    counts = resamples(len(targets))                              # blocks of (R, N): how often each picture is drawn
    figures = replicates(len(targets), of_classification(probabilities, targets))
    interval(figures["accuracy"])                                 # (0.958, 0.983)

The resamples depend on the number of pictures alone. Two versions that were measured on the same pictures in the same
order are therefore measured on the same resamples, and the difference of their figures, resample by resample, is the
paired bootstrap: nothing but these figures need be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from steelyard_workers.measures.calibration import BINS, bins_of
from steelyard_workers.measures.classification import TOP, in_top, losses, of_confusion
from steelyard_workers.measures.curves import Floats
from steelyard_workers.measures.detection import OVERLAPS, Matches, average_precision
from steelyard_workers.measures.segmentation import Numbers, iou_of

RESAMPLES = 1000
_SEED = 20_261
_TAIL = 2.5  # per cent at either end: intervals of 95 %
# Numbers in one block of resamples: 64 MB of float64.
_BLOCK = 8_000_000

# From (R, N) counts to (R,) values of each figure.
Figures = Callable[[Floats], Mapping[str, Floats]]


def resamples(pictures: int, *, count: int = RESAMPLES, seed: int = _SEED) -> Iterator[Floats]:
    """Blocks of (R, N): how often each picture is drawn in each resample. The same for the same number of pictures."""
    generator = np.random.default_rng([seed, pictures])
    rows = max(1, min(count, _BLOCK // max(pictures, 1)))
    done = 0
    while done < count:
        size = min(rows, count - done)
        drawn = [generator.integers(0, pictures, pictures) for _ in range(size)]
        yield np.stack([np.bincount(one, minlength=pictures) for one in drawn]).astype(np.float64)
        done += size


def replicates(pictures: int, figures: Figures, *, count: int = RESAMPLES) -> dict[str, Floats]:
    """(count,) values of each figure, one for each resample."""
    blocks = [figures(counts) for counts in resamples(pictures, count=count)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of the values; those that are no numbers, of resamples without any truth, are left out."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [_TAIL, 100 - _TAIL])
    return float(low), float(high)


def of_classification(probabilities: Floats, targets: NDArray[np.int64]) -> Figures:
    """Accuracy, top-5, macro F1, calibration error and loss, as `classification.measures` has them."""
    probabilities = np.asarray(probabilities, np.float64)
    classes, answers = probabilities.shape[1], probabilities.argmax(1)
    right, confidence = (answers == targets).astype(np.float64), probabilities.max(1)
    bins, top, loss = (
        bins_of(confidence),
        in_top(probabilities, targets).astype(np.float64),
        losses(probabilities, targets),
    )

    def figures(counts: Floats) -> dict[str, Floats]:
        total = counts.sum(1)
        hits = counts * right
        true, answered = summed(counts, targets, classes), summed(counts, answers, classes)
        _, _, f1 = of_confusion(summed(hits, targets, classes), answered, true)
        occurring = (true + answered) > 0
        gap = np.abs(summed(hits, bins, BINS) - summed(counts * confidence, bins, BINS))
        return {
            "accuracy": hits.sum(1) / total,
            **({"top5": counts @ top / total} if classes > TOP else {}),
            "f1_macro": (f1 * occurring).sum(1) / occurring.sum(1),
            "ece": gap.sum(1) / total,
            "loss": counts @ loss / total,
        }

    return figures


def of_segmentation(right: Numbers, answered: Numbers, true: Numbers) -> Figures:
    """Mean IoU and pixel accuracy from pixels by picture and class, (N, C) each."""

    def figures(counts: Floats) -> dict[str, Floats]:
        hits, pixels = counts @ right, counts @ true
        iou = iou_of(hits, counts @ answered, pixels)
        return {"mean_iou": _mean_of_known(iou), "pixel_accuracy": hits.sum(1) / np.maximum(pixels.sum(1), 1)}

    return figures


def of_detection(matches: Sequence[Matches]) -> Figures:
    """mAP50 and mAP50-95 from the matches of each class."""

    def figures(counts: Floats) -> dict[str, Floats]:
        precisions = np.full((len(counts), len(matches), len(OVERLAPS)), np.nan)
        for label, one in enumerate(matches):
            truths, weights = counts @ one.truths, counts[:, one.pictures]
            for place, hits in enumerate(one.hits):
                precisions[:, label, place] = [
                    average_precision(hits, row, there) for row, there in zip(weights, truths, strict=True)
                ]
        return {
            "map50": _mean_of_known(precisions[:, :, 0]),
            "map50_95": _mean_of_known(precisions.reshape(len(counts), -1)),
        }

    return figures


def _mean_of_known(values: Floats) -> Floats:
    """(R, C) to (R,): the mean of what is a number; not a number where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(1)
    mean: Floats = np.divide(total, known.sum(1), out=np.full(len(values), np.nan), where=known.any(1))
    return mean


def summed(values: Floats, groups: NDArray[np.int64], count: int) -> Floats:
    """(R, N) values added up by the group of each column: (R, count)."""
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    found = np.zeros((len(values), count))
    found[:, present] = np.add.reduceat(values[:, order], starts, axis=1)
    return found
