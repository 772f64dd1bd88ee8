"""What running trials have reported of the metric of their search, validation by validation: a few queries for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from uuid import UUID

from steelyard_contracts.searches import TrialState
from steelyard_platform.jobs import series
from steelyard_platform.jobs.search_models import Trial

# Of each trial, by its key: the values in the order of their steps, None for what is no number.
Reports = Mapping[int, Sequence[float | None]]


def reports_of_running(searches: Sequence[UUID]) -> Reports:
    """Of the trials of these searches that are not settled yet."""
    running = Trial.objects.filter(search__in=searches, state=TrialState.RUNNING, job__isnull=False)
    trials = {job: (key, metric) for key, job, metric in running.values_list("pk", "job", "search__spec__metric")}
    points = series.points_of({job: metric for job, (_, metric) in trials.items()})
    return {
        trials[job][0]: [point.value if math.isfinite(point.value) else None for point in found]
        for job, found in points.items()
    }
