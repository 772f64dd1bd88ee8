"""What an evaluation found beside its headline figures, and what tells two versions apart from noise.

    differences_of(one, other)    the paired bootstrap of each figure that both have, from what each kept

A worker draws the same resamples for the same number of pictures, so that two versions on the same pictures were
measured on the same resamples: the difference of their figures, one by one, needs no picture any more.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field, FiniteFloat

from steelyard_contracts.wire import WireModel

CONFIDENCE = 0.95
MOST_CLASSES = 10_000
MOST_SAMPLES = 24
MOST_CURVE_POINTS = 200
MOST_CONFUSED = 100
# Bytes of a sample's picture, as base64.
LARGEST_PICTURE = 40_000


class Interval(WireModel):
    """Where a figure lies with a confidence of 95 %, as far as the choice of pictures goes."""

    low: FiniteFloat
    high: FiniteFloat


class ClassRow(WireModel):
    """One class: how often it truly occurs (pictures, boxes or pixels), and its measures by name."""

    label: str = Field(max_length=200)
    support: int = Field(ge=0)
    measures: dict[str, FiniteFloat] = Field(default_factory=dict)


class Confusion(WireModel):
    """Rows are true classes, columns answers. Of many classes, those that are confused most; the rest are one."""

    labels: list[str] = Field(max_length=MOST_CONFUSED)
    counts: list[list[int]]


class CurveKind(StrEnum):
    ROC = "roc"
    PRECISION_RECALL = "precision-recall"


class CurveRow(WireModel):
    """Points of one class's curve: false and true positive rates, or recall and precision; `area` under all of it."""

    kind: CurveKind
    label: str = Field(max_length=200)
    area: FiniteFloat
    x: list[FiniteFloat] = Field(max_length=MOST_CURVE_POINTS)
    y: list[FiniteFloat] = Field(max_length=MOST_CURVE_POINTS)


class CalibrationBin(WireModel):
    """Answers of about the same confidence: how many, how sure on average, and the share that was right."""

    count: int = Field(ge=0)
    confidence: FiniteFloat
    accuracy: FiniteFloat


class Measures(WireModel):
    """All that was measured beside the headline figures."""

    classes: list[ClassRow] = Field(default_factory=list, max_length=MOST_CLASSES)
    confusion: Confusion | None = None
    curves: list[CurveRow] = Field(default_factory=list, max_length=60)
    calibration: list[CalibrationBin] = Field(default_factory=list, max_length=50)


class Replicates(WireModel):
    """A figure's value on each resample, packed: base64 of little-endian float32. See `pack` and `unpack`.

    `pictures` is a digest of the pictures in their order: with another one, nothing is paired.
    """

    pictures: str = Field(max_length=64)
    values: dict[str, str] = Field(default_factory=dict, max_length=20)


class WorstSample(WireModel):
    """A picture that the version did badly on: small, as base64 of a PNG or JPEG. `cost` orders them, worst first."""

    path: str = Field(max_length=1024)
    truth: str = Field(max_length=500)
    answer: str = Field(max_length=500)
    cost: FiniteFloat
    picture: str = Field(max_length=LARGEST_PICTURE)


class EvaluationView(BaseModel):
    """Measures of a version on one dataset version's split, in one runtime on one kind of machine."""

    id: int
    dataset: str
    split: str
    runtime: str
    task: str
    pictures: int
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    environment: dict[str, str]
    job: str | None
    created_at: datetime


class SampleView(BaseModel):
    """A picture that the version did badly on; `picture` is its address, for those who may read the dataset."""

    path: str
    truth: str
    answer: str
    cost: float
    picture: str | None


class EvaluationDetail(EvaluationView):
    measures: Measures
    samples: list[SampleView]


class Difference(BaseModel):
    """Of one figure: right minus left, and where that lies with a confidence of 95 %.

    `is_noise` says that the interval holds nought: another choice of pictures might turn the difference round. None
    where it cannot be told, because the two were not measured on the same pictures, or one keeps no resamples.
    """

    metric: str
    left: float
    right: float
    difference: float
    interval: Interval | None = None
    is_noise: bool | None = None


class ComparedEvaluation(BaseModel):
    """One version's newest evaluation in a comparison, and how it differs from the first one's."""

    version: str
    evaluation: EvaluationView | None = Field(description="Null: it was not measured there.")
    differences: list[Difference] = Field(default_factory=list)


class ComparedPlace(BaseModel):
    """A dataset version's split that at least two of the versions were measured on, each in its newest evaluation."""

    dataset: str
    split: str
    rows: list[ComparedEvaluation]


class EvaluationComparison(BaseModel):
    versions: list[str]
    places: list[ComparedPlace]


@dataclass(frozen=True, slots=True)
class Paired:
    """What is kept of one evaluation for comparing it."""

    metrics: Mapping[str, float]
    replicates: Replicates


def pack(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def unpack(text: str) -> list[float]:
    """Raises: ValueError."""
    try:
        data = base64.b64decode(text, validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    except (binascii.Error, struct.error) as error:
        raise ValueError("these are no packed replicates") from error


def differences_of(left: Paired, right: Paired) -> list[Difference]:
    """Of each figure that both have, by name."""
    return [
        _difference(metric, left, right)
        for metric in sorted(left.metrics)
        if metric in right.metrics and math.isfinite(left.metrics[metric]) and math.isfinite(right.metrics[metric])
    ]


def _difference(metric: str, left: Paired, right: Paired) -> Difference:
    ours, theirs = left.metrics[metric], right.metrics[metric]
    plain = Difference(metric=metric, left=ours, right=theirs, difference=theirs - ours)
    packed = [one.replicates.values.get(metric) for one in (left, right)]
    if left.replicates.pictures != right.replicates.pictures or not left.replicates.pictures or None in packed:
        return plain
    before, after = (unpack(str(text)) for text in packed)
    changes = [b - a for a, b in zip(before, after, strict=False) if math.isfinite(a) and math.isfinite(b)]
    if len(before) != len(after) or not changes:
        return plain
    found = middle(changes)
    return plain.model_copy(update={"interval": found, "is_noise": found.low <= 0 <= found.high})


def middle(values: Sequence[float]) -> Interval:
    """The middle 95 % of the values, between neighbours by proportion."""
    ordered, tail = sorted(values), (1 - CONFIDENCE) / 2
    return Interval(low=_quantile(ordered, tail), high=_quantile(ordered, 1 - tail))


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
