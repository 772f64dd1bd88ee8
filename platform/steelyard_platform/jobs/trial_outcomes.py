"""What came of a trial, from how its job ended. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from steelyard_contracts.jobs import JobState
from steelyard_contracts.searches import SearchSpec, TrialState
from steelyard_platform.jobs.models import Job


@dataclass(frozen=True, slots=True)
class Outcome:
    state: TrialState
    value: float | None = None
    version: str = ""
    reason: str = ""


def outcome_of(spec: SearchSpec, job: Job, pruned: str, reports: Sequence[float | None]) -> Outcome:
    """Args: `pruned`: why the pruner has ended it, if it has; `reports`: the metric at each validation."""
    match JobState(job.state):
        case JobState.SUCCEEDED:
            return _of_success(spec, job.result, reports)
        case JobState.CANCELLED if pruned:
            known = [one for one in reports if one is not None]
            return Outcome(TrialState.PRUNED, value=known[-1] if known else None, reason=pruned)
        case JobState.CANCELLED:
            return Outcome(TrialState.CANCELLED, reason="its job was cancelled")
        case _:
            return Outcome(TrialState.FAILED, reason=job.error or "its job failed")


def _of_success(spec: SearchSpec, result: dict[str, Any], reports: Sequence[float | None]) -> Outcome:
    """The measure of the version that was committed, where the job tells it; else the last that was reported."""
    version = str(result.get("version", ""))
    told = result.get(spec.metric.rpartition("/")[2])
    value = told if isinstance(told, int | float) else next(reversed(reports), None) if reports else None
    if value is None or not math.isfinite(value):
        reason = f"its job succeeded without a number for {spec.metric!r}; name a metric that the training reports"
        return Outcome(TrialState.FAILED, version=version, reason=reason)
    return Outcome(TrialState.COMPLETE, value=float(value), version=version)
