"""From a network's raw outputs to what a person reads: labels, boxes, or shares of pixels. No torch."""

from __future__ import annotations

import base64
import colorsys
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steelyard_contracts.jobs import PredictSpec
from steelyard_contracts.prediction import ClassShare, FoundBox, PicturePrediction, ScoredLabel
from steelyard_contracts.tasks import Task
from steelyard_workers.detections import decode_detections
from steelyard_workers.evaluation.networks_to_run import Answers
from steelyard_workers.measures.classification import softmax
from steelyard_workers.prediction.pictures import SentPicture
from steelyard_workers.preprocessing import Preprocessing

_COLOURS = 256
_CLEAR = 0  # the class that the mask leaves transparent: mostly the background
_GOLDEN = 0.618034  # steps round the circle of hues that keep neighbours apart


def answer_of(
    outputs: Answers, picture: SentPicture, how: Preprocessing, spec: PredictSpec, *, latency_ms: float
) -> PicturePrediction:
    """Of one picture: outputs have a batch of one."""
    found: dict[str, Any] = {}
    match how.task:
        case Task.CLASSIFICATION:
            found["labels"] = _labels(outputs["logits"][0], how.labels, spec.top)
        case Task.DETECTION:
            found["boxes"] = _boxes(outputs, picture, how, spec.threshold)
        case Task.SEGMENTATION:
            classes = _upscaled(outputs["logits"][0], how.size).argmax(0)
            found |= {"shares": _shares(classes, how.labels), "mask": _mask(classes)}
    return PicturePrediction(width=picture.width, height=picture.height, latency_ms=latency_ms, **found)


def _labels(logits: NDArray[np.float32], labels: list[str], top: int) -> list[ScoredLabel]:
    scores = softmax(logits)
    order = np.argsort(-scores, kind="stable")[:top]
    return [ScoredLabel(label=labels[index], score=round(float(scores[index]), 6)) for index in order.tolist()]


def _boxes(outputs: Answers, picture: SentPicture, how: Preprocessing, threshold: float) -> list[FoundBox]:
    size = (picture.width, picture.height)
    (found,) = decode_detections(outputs["logits"], outputs["pred_boxes"], [size], model_type=how.model_type)
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return [
        FoundBox(label=how.labels[label], score=round(score, 6), box=tuple(round(side, 2) for side in box))
        for box, score, label in rows
        if score >= threshold
    ]


def _upscaled(logits: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(C, h, w) to (C, size, size), bilinear, as in an evaluation: networks answer at a quarter of the size or so."""
    planes = [Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR) for plane in logits]
    return np.stack([np.asarray(plane) for plane in planes])


def _shares(classes: NDArray[np.int64], labels: list[str]) -> list[ClassShare]:
    """Of the pixels, the largest first; what is not there is left out."""
    counts = np.bincount(classes.ravel(), minlength=len(labels))
    order = [index for index in np.argsort(-counts, kind="stable").tolist() if counts[index]]
    return [
        ClassShare(
            label=labels[index],
            score=round(float(counts[index] / classes.size), 6),
            colour=None if index == _CLEAR else "#{:02x}{:02x}{:02x}".format(*_colour(index)),
        )
        for index in order
    ]


def _mask(classes: NDArray[np.int64]) -> str:
    """A palette PNG as base64."""
    image = Image.fromarray(classes.astype(np.uint8), "P")
    palette = [part for index in range(_COLOURS) for part in _colour(index)]
    image.putpalette(palette)
    kept = io.BytesIO()
    image.save(kept, "PNG", transparency=_CLEAR, optimize=True)
    return base64.b64encode(kept.getvalue()).decode()


def _colour(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((index * _GOLDEN) % 1, 0.75, 0.95)
    return int(red * 255), int(green * 255), int(blue * 255)
