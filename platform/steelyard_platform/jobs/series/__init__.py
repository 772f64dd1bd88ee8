"""Metric series and logs of jobs: written in batches, read as charts need them.

`writing` takes points in, `reading` answers in a few hundred buckets whatever the length of a series, `lines` keeps
the log, `packing` turns a run of points into bytes. A point that is no finite number is kept, and a chart shows a gap
with a mark.
"""

from steelyard_platform.jobs.series.lines import write_lines
from steelyard_platform.jobs.series.reading import (
    MAX_BUCKETS,
    MAX_SERIES,
    Series,
    is_finite,
    last_values,
    newest_points,
    points_beyond,
    points_of,
    read_points,
    read_series,
)
from steelyard_platform.jobs.series.writing import METERS, drop_points_beyond, write_points

__all__ = [
    "MAX_BUCKETS",
    "MAX_SERIES",
    "METERS",
    "Series",
    "drop_points_beyond",
    "is_finite",
    "last_values",
    "newest_points",
    "points_beyond",
    "points_of",
    "read_points",
    "read_series",
    "write_lines",
    "write_points",
]
