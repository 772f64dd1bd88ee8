"""Measures of a detector by the COCO rules: average precision over classes, recalls and overlaps. pycocotools matches.

    found = measures(predictions, truths, labels)    # lists over pictures of Detections and Truths
    found.headline()                                 # {"map50": 0.81, "map50_95": 0.55}

Boxes are (x1, y1, x2, y2) in pixels of the picture that both speak of.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard_workers.measures.curves import Curve, Floats

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_DETECTIONS = 100  # of each class in each picture, the surest: what COCO counts
# A detection that is at least this sure counts as an alarm.
SURE = 0.5


@dataclass(frozen=True, slots=True)
class Detections:
    """What a network says of one picture: (n, 4) boxes, (n,) scores and (n,) class indices."""

    boxes: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Truths:
    """What is in one picture: (n, 4) boxes and (n,) class indices."""

    boxes: NDArray[np.floating[Any]]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matches:
    """Of one class: its detections, surest first, and how many boxes each picture truly has.

    `pictures` (D,) says which picture each is in, `hits` (overlaps, D) which find a box; `truths` (N,).
    """

    pictures: NDArray[np.int64]
    hits: NDArray[np.bool_]
    truths: Floats


@dataclass(frozen=True, slots=True)
class DetectionMeasures:
    """By class, in label order; `ap` and `ap50` are no numbers for a class without a box in the split.

    `missed` counts the boxes of each picture that no sure detection finds at half overlap, `false_alarms` its sure
    detections that find none.
    """

    map50: float
    map50_95: float
    ap: Floats
    ap50: Floats
    support: NDArray[np.int64]
    precision_recall: list[Curve | None]
    missed: NDArray[np.int64]
    false_alarms: NDArray[np.int64]
    matches: list[Matches]

    def headline(self) -> dict[str, float]:
        return {"map50": round(self.map50, 6), "map50_95": round(self.map50_95, 6)}


def measures(predictions: Sequence[Detections], truths: Sequence[Truths], labels: Sequence[str]) -> DetectionMeasures:
    """One entry of each list for every picture. Raises: ValueError when no picture has a box."""
    if not sum(len(one.labels) for one in truths):
        raise ValueError("there is nothing to measure: no picture has a box")
    evaluated = _evaluate(predictions, truths, len(labels))
    precision = evaluated.eval["precision"][:, :, :, 0, 0]  # (overlaps, recalls, classes); -1 without truths
    known = (precision > -1).all((0, 1))
    ap, ap50 = (np.where(known, one, np.nan) for one in (precision.mean((0, 1)), precision[0].mean(0)))
    found = np.array(evaluated.evalImgs, dtype=object).reshape(len(labels), len(truths))
    missed, false_alarms = _by_picture(found)
    return DetectionMeasures(
        map50=float(np.nanmean(ap50)),
        map50_95=float(np.nanmean(ap)),
        ap=ap,
        ap50=ap50,
        support=np.bincount(np.concatenate([one.labels for one in truths]).astype(np.int64), minlength=len(labels)),
        precision_recall=[
            Curve(RECALLS, precision[0, :, label], float(ap50[label])) if known[label] else None
            for label in range(len(labels))
        ],
        missed=missed,
        false_alarms=false_alarms,
        matches=[_matches(row) for row in found],
    )


def average_precision(hits: NDArray[np.bool_], weights: Floats, truths: float) -> float:
    """By COCO's rule, of detections that count `weights` times each, surest first; not a number without truths."""
    if truths <= 0:
        return float("nan")
    right, wrong = np.cumsum(weights * hits), np.cumsum(weights * ~hits)
    precision = right / np.maximum(right + wrong, np.spacing(1))
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(right / truths, RECALLS, side="left")].mean())


def _evaluate(predictions: Sequence[Detections], truths: Sequence[Truths], classes: int) -> Any:
    """What pycocotools finds, accumulated. What it prints is left out."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known, said = COCO(), COCO()
        known.dataset = _dataset([one.boxes for one in truths], [one.labels for one in truths], classes)
        said.dataset = _dataset([one.boxes for one in predictions], [one.labels for one in predictions], classes)
        scores = np.concatenate([one.scores for one in predictions])
        for row, score in zip(said.dataset["annotations"], scores.tolist(), strict=True):
            row["score"] = score
        known.createIndex()
        said.createIndex()
        evaluated = COCOeval(known, said, "bbox")
        evaluated.params.areaRng, evaluated.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluated.params.maxDets, evaluated.params.iouThrs = [MOST_DETECTIONS], OVERLAPS
        evaluated.evaluate()
        evaluated.accumulate()
    return evaluated


def _dataset(
    boxes: Sequence[NDArray[np.floating[Any]]], labels: Sequence[NDArray[np.int64]], classes: int
) -> dict[str, Any]:
    """COCO's form. Ids count from 1: nought means no match there."""
    annotations: list[dict[str, Any]] = []
    for picture, (corners, indices) in enumerate(zip(boxes, labels, strict=True)):
        for (left, top, right, bottom), label in zip(
            np.asarray(corners, float).tolist(), indices.tolist(), strict=True
        ):
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture + 1,
                    "category_id": label + 1,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [{"id": picture + 1} for picture in range(len(boxes))],
        "categories": [{"id": label + 1} for label in range(classes)],
        "annotations": annotations,
    }


def _by_picture(found: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(boxes that nothing sure finds, sure detections that find nothing) of each picture, at the smallest overlap."""
    missed, false_alarms = np.zeros((2, found.shape[1]), np.int64)
    for row in found:
        for picture, one in enumerate(row):
            if one is not None:
                sure = np.asarray(one["dtScores"]) >= SURE
                missed[picture] += int(np.sum(~np.isin(one["gtMatches"][0], np.asarray(one["dtIds"])[sure])))
                false_alarms[picture] += int(np.sum((one["dtMatches"][0] == 0) & sure))
    return missed, false_alarms


def _matches(row: NDArray[Any]) -> Matches:
    """From what pycocotools found of one class in each picture (None where there was nothing)."""
    truths = np.array([0 if one is None else len(one["gtIds"]) for one in row], np.float64)
    there = [(picture, one) for picture, one in enumerate(row) if one is not None and len(one["dtIds"])]
    if not there:
        return Matches(np.zeros(0, np.int64), np.zeros((len(OVERLAPS), 0), np.bool_), truths)
    scores = np.concatenate([one["dtScores"] for _, one in there])
    order = np.argsort(-scores, kind="mergesort")
    pictures = np.concatenate([np.full(len(one["dtIds"]), picture) for picture, one in there])
    hits = np.concatenate([one["dtMatches"] > 0 for _, one in there], axis=1)
    return Matches(pictures[order], hits[:, order], truths)
