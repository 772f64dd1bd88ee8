"""Measures of a classifier from its probabilities and the true classes.

    found = measures(probabilities, targets)        # (N, C) and (N,)
    found.headline()                                # {"accuracy": 0.97, "f1_macro": …, "ece": …, "loss": …, …}

Means over classes count those that occur, among the truths or the answers: a class of which the split has no picture,
and that was never answered, says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard_workers.measures.calibration import Calibration, calibration
from steelyard_workers.measures.curves import Curve, Floats, counts_of, precision_recall, roc

TOP = 5
_SMALLEST = 1e-12  # a probability of nought would be an endless loss


@dataclass(frozen=True, slots=True)
class ClassificationMeasures:
    """Rows of `confusion` are true classes, columns answers. Lists and arrays over classes are in label order.

    `top5` is None with no more than five classes, where it says nothing. A curve is None for a class that does not
    occur, or alone does.
    """

    accuracy: float
    top5: float | None
    loss: float
    precision: Floats
    recall: Floats
    f1: Floats
    support: NDArray[np.int64]
    confusion: NDArray[np.int64]
    roc: list[Curve | None]
    precision_recall: list[Curve | None]
    calibration: Calibration

    @property
    def occurring(self) -> NDArray[np.bool_]:
        seen: NDArray[np.bool_] = (self.confusion.sum(0) + self.confusion.sum(1)) > 0
        return seen

    def headline(self) -> dict[str, float]:
        areas = [curve.area for curve in self.roc if curve is not None]
        found = {
            "accuracy": self.accuracy,
            **({"top5": self.top5} if self.top5 is not None else {}),
            "precision_macro": float(self.precision[self.occurring].mean()),
            "recall_macro": float(self.recall[self.occurring].mean()),
            "f1_macro": float(self.f1[self.occurring].mean()),
            **({"roc_auc": float(np.mean(areas))} if areas else {}),
            "ece": self.calibration.error,
            "loss": self.loss,
        }
        return {name: round(value, 6) for name, value in found.items()}


def measures(probabilities: Floats, targets: NDArray[np.int64]) -> ClassificationMeasures:
    """(N, C) probabilities, whose rows sum to one, and (N,) true classes. Raises: ValueError for no pictures."""
    if not len(targets):
        raise ValueError("there is nothing to measure: no pictures")
    probabilities = np.asarray(probabilities, np.float64)
    classes = probabilities.shape[1]
    answers = probabilities.argmax(1)
    confusion = confusion_of(targets, answers, classes)
    precision, recall, f1 = of_confusion(np.diag(confusion), confusion.sum(0), confusion.sum(1))
    counts = [counts_of(probabilities[:, label], targets == label) for label in range(classes)]
    return ClassificationMeasures(
        accuracy=float(np.mean(answers == targets)),
        top5=float(np.mean(in_top(probabilities, targets))) if classes > TOP else None,
        loss=float(losses(probabilities, targets).mean()),
        precision=precision,
        recall=recall,
        f1=f1,
        support=confusion.sum(1),
        confusion=confusion,
        roc=[roc(one) for one in counts],
        precision_recall=[precision_recall(one) for one in counts],
        calibration=calibration(probabilities.max(1), answers == targets),
    )


def confusion_of(targets: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(C, C) counts: rows are true classes, columns answers."""
    return np.bincount(targets * classes + answers, minlength=classes * classes).reshape(classes, classes)


def of_confusion(right: Floats, answered: Floats, true: Floats) -> tuple[Floats, Floats, Floats]:
    """(precision, recall, F1) of each class from counts (…, C); nought where nothing was answered or true."""
    right, answered, true = (np.asarray(one, np.float64) for one in (right, answered, true))
    return right / np.maximum(answered, 1), right / np.maximum(true, 1), 2 * right / np.maximum(answered + true, 1)


def in_top(probabilities: Floats, targets: NDArray[np.int64], top: int = TOP) -> NDArray[np.bool_]:
    """(N,) whether the true class is among the `top` most probable ones."""
    own = probabilities[np.arange(len(targets)), targets]
    found: NDArray[np.bool_] = (probabilities > own[:, None]).sum(1) < top
    return found


def losses(probabilities: Floats, targets: NDArray[np.int64]) -> Floats:
    """(N,) cross entropies, in nats."""
    own = probabilities[np.arange(len(targets)), targets]
    return -np.log(np.maximum(own, _SMALLEST))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Along the last axis."""
    raised = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    found: NDArray[np.float64] = raised / raised.sum(-1, keepdims=True)
    return found
