"""From measures to what a report carries: figures with intervals, tables and curves of bounded size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard_contracts.evaluation import (
    MOST_CONFUSED,
    CalibrationBin,
    ClassRow,
    Confusion,
    CurveKind,
    CurveRow,
    Interval,
    Measures,
    Replicates,
    pack,
)
from steelyard_workers.measures import bootstrap, classification, detection, segmentation
from steelyard_workers.measures.calibration import Calibration
from steelyard_workers.measures.curves import Curve, Floats, thinned

_CURVES = 10  # of each kind: those of the classes that do worst
_REST = "(others)"


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one version on one split. `metrics` are the headline figures."""

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    measures: Measures
    replicates: Replicates


def of_classification(
    probabilities: Floats, targets: NDArray[np.int64], labels: Sequence[str], pictures: str
) -> Findings:
    """`pictures`: a digest of them in their order; see `digest_of`."""
    found = classification.measures(probabilities, targets)
    figures = bootstrap.replicates(len(targets), bootstrap.of_classification(probabilities, targets))
    rows = [
        ClassRow(label=label, support=int(found.support[index]), measures=_of_class(found, index))
        for index, label in enumerate(labels)
    ]
    curves = [
        *_curves(CurveKind.PRECISION_RECALL, found.precision_recall, labels),
        *_curves(CurveKind.ROC, found.roc, labels),
    ]
    measures = Measures(
        classes=rows,
        confusion=confusion_of(found.confusion, labels),
        curves=curves,
        calibration=_bins(found.calibration),
    )
    return _findings(found.headline(), figures, measures, pictures)


def of_detection(
    predictions: Sequence[detection.Detections],
    truths: Sequence[detection.Truths],
    labels: Sequence[str],
    pictures: str,
) -> tuple[Findings, detection.DetectionMeasures]:
    """With the measures themselves, which say what each picture lacks."""
    found = detection.measures(predictions, truths, labels)
    figures = bootstrap.replicates(len(truths), bootstrap.of_detection(found.matches))
    rows = [
        ClassRow(
            label=label,
            support=int(found.support[index]),
            measures=_known({"ap50": found.ap50[index], "ap": found.ap[index]}),
        )
        for index, label in enumerate(labels)
    ]
    measures = Measures(classes=rows, curves=_curves(CurveKind.PRECISION_RECALL, found.precision_recall, labels))
    return _findings(found.headline(), figures, measures, pictures), found


def of_segmentation(confusions: NDArray[np.int64], labels: Sequence[str], pictures: str) -> Findings:
    """From (N, C, C) confusions of pixels, one for each picture."""
    found = segmentation.measures(confusions.sum(0))
    right, answered, true = np.diagonal(confusions, axis1=1, axis2=2), confusions.sum(1), confusions.sum(2)
    figures = bootstrap.replicates(len(confusions), bootstrap.of_segmentation(right, answered, true))
    rows = [
        ClassRow(label=label, support=int(found.support[index]), measures=_known({"iou": found.iou[index]}))
        for index, label in enumerate(labels)
    ]
    measures = Measures(classes=rows, confusion=confusion_of(found.confusion, labels))
    return _findings(found.headline(), figures, measures, pictures)


def digest_of(dataset: str, split: str, names: Iterable[str]) -> str:
    """Of the pictures of a dataset version in their order."""
    text = "\n".join([dataset, split, *names])
    return hashlib.sha256(text.encode()).hexdigest()


def confusion_of(counts: NDArray[np.int64], labels: Sequence[str]) -> Confusion:
    """Whole, or of the classes that are confused most, and the rest as one."""
    if len(labels) <= MOST_CONFUSED:
        return Confusion(labels=list(labels), counts=counts.tolist())
    errors = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    kept = np.sort(np.argsort(-errors, kind="stable")[: MOST_CONFUSED - 1])
    groups = np.full(len(labels), len(kept))
    groups[kept] = np.arange(len(kept))
    small = np.zeros((len(kept) + 1, len(kept) + 1), np.int64)
    np.add.at(small, (groups[:, None], groups[None, :]), counts)
    return Confusion(labels=[*(labels[index] for index in kept), _REST], counts=small.tolist())


def _findings(headline: dict[str, float], figures: Mapping[str, Floats], measures: Measures, pictures: str) -> Findings:
    ends = {name: bootstrap.interval(values) for name, values in figures.items()}
    return Findings(
        metrics=headline,
        intervals={
            name: Interval(low=round(low, 6), high=round(high, 6))
            for name, (low, high) in ends.items()
            if name in headline and np.isfinite([low, high]).all()
        },
        measures=measures,
        replicates=Replicates(
            pictures=pictures, values={name: pack(values.tolist()) for name, values in figures.items()}
        ),
    )


def _of_class(found: classification.ClassificationMeasures, index: int) -> dict[str, float]:
    areas = {"roc_auc": found.roc[index], "average_precision": found.precision_recall[index]}
    return _known(
        {
            "precision": found.precision[index],
            "recall": found.recall[index],
            "f1": found.f1[index],
            **{name: curve.area for name, curve in areas.items() if curve is not None},
        }
    )


def _curves(kind: CurveKind, curves: Sequence[Curve | None], labels: Sequence[str]) -> list[CurveRow]:
    """Of the classes with the smallest areas, in label order."""
    known = [(index, curve) for index, curve in enumerate(curves) if curve is not None]
    worst = sorted(sorted(known, key=lambda one: one[1].area)[:_CURVES], key=lambda one: one[0])
    rows = []
    for index, curve in worst:
        x, y = thinned(curve.x, curve.y)
        rows.append(
            CurveRow(
                kind=kind,
                label=labels[index],
                area=round(curve.area, 6),
                x=x.round(4).tolist(),
                y=y.round(4).tolist(),
            )
        )
    return rows


def _bins(found: Calibration) -> list[CalibrationBin]:
    rows = zip(found.counts.tolist(), found.confidence.tolist(), found.accuracy.tolist(), strict=True)
    return [CalibrationBin(count=count, confidence=sure, accuracy=right) for count, sure, right in rows]


def _known(values: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers, rounded."""
    return {name: round(float(value), 6) for name, value in values.items() if np.isfinite(value)}
