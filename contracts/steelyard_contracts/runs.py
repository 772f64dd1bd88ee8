"""Runs side by side: what they were asked for, where they differ, and how they ended. Pure.

compare([Run(id=…, spec={"epochs": 10, …}, metrics={"validation/loss": 0.3}), Run(…)])
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

FEWEST, MOST = 2, 8

# Whether more is better, by words of a measure's name; a measure with neither has no best.
_LESS = re.compile(r"(^|[/_])(loss|error|ece|seconds|latency|ms|mae|mse|rmse|perplexity)($|[/_])")
_MORE = re.compile(r"(^|[/_])(accuracy|top\d+|f1|precision|recall|auc|map\d*|iou|dice|r2|bleu|images_per_s)($|[/_])")


class Run(BaseModel):
    id: UUID
    kind: str
    name: str = Field("", description="What a run that reports here is called; other jobs have no name.")
    state: str
    team: str
    created_by: str
    created_at: datetime
    seconds: float | None = Field(None, description="From its start to its end.")
    version: str | None = Field(None, description="What it committed.")

    @property
    def title(self) -> str:
        """By its name, or by its kind and the first letters of its id."""
        return self.name or f"{self.kind} {str(self.id)[:8]}"


class ParameterRow(BaseModel):
    """One field of the specs, a value for each run; null where a run's spec has none."""

    name: str
    values: list[Any]
    differs: bool


class MetricRow(BaseModel):
    """The last value of a series, or a number of the result, of each run; null where there is none.

    `best`: the places of the best runs; empty where nobody knows what is better.
    """

    name: str
    values: list[float | None]
    best: list[int]


class RunComparison(BaseModel):
    """What differs comes first."""

    runs: list[Run]
    parameters: list[ParameterRow]
    metrics: list[MetricRow]


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of one run."""

    run: Run
    spec: Mapping[str, Any]
    metrics: Mapping[str, float]


def compare(runs: Sequence[Told]) -> RunComparison:
    specs = [dict(_flat(one.spec)) for one in runs]
    parameters = [_parameter(name, specs) for name in _names(specs)]
    metrics = [_metric(name, [one.metrics for one in runs]) for name in _names([one.metrics for one in runs])]
    return RunComparison(
        runs=[one.run for one in runs],
        parameters=sorted(parameters, key=lambda row: not row.differs),
        metrics=sorted(metrics, key=lambda row: not row.name.startswith("validation/")),
    )


def is_more_better(name: str) -> bool | None:
    """None where the name does not tell."""
    if _LESS.search(name.lower()):
        return False
    return True if _MORE.search(name.lower()) else None


def _names(of: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for one in of for name in one))


def _flat(spec: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in spec.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        elif key != "kind":
            yield f"{before}{key}", value


def _parameter(name: str, specs: Sequence[Mapping[str, Any]]) -> ParameterRow:
    values = [spec.get(name) for spec in specs]
    texts = {json.dumps(value, sort_keys=True, default=str) for value in values}
    return ParameterRow(name=name, values=values, differs=len(texts) > 1)


def _metric(name: str, measured: Sequence[Mapping[str, float]]) -> MetricRow:
    values = [_finite(one.get(name)) for one in measured]
    known = [value for value in values if value is not None]
    more = is_more_better(name)
    if more is None or len(set(known)) < FEWEST:
        return MetricRow(name=name, values=values, best=[])
    best = max(known) if more else min(known)
    return MetricRow(name=name, values=values, best=[place for place, value in enumerate(values) if value == best])


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
