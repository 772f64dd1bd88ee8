"""Series as charts need them: a few hundred buckets with lowest, highest and mean, worked out by the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Subquery, case, func, literal, select, type_coerce, union_all

from steelyard_platform.jobs.series.packing import WORDS, Point, as_point, special_of, unpack, value_of
from steelyard_platform.jobs.series_tables import LoosePoint, MetricSeries, SealedChunk, SeriesSummary
from steelyard_platform.storage.core_tables import database_id, fetch_all, table_of

MAX_BUCKETS = 500
MAX_SERIES = 200
# A part of a series with at most so many points for each bucket is shown point by point.
_EXACT_PER_BUCKET = 4
_LAST = 2**62
_MOST_ROWS = 20_000


@dataclass(slots=True)
class Series:
    """Parallel lists, steps ascending. A value is its bucket's mean; None where there is no finite number.

    `marks`: the steps of buckets with something that is no finite number, and what: NaN, Infinity or -Infinity.
    """

    name: str
    steps: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    lows: list[float | None] = field(default_factory=list)
    highs: list[float | None] = field(default_factory=list)
    marks: dict[int, str] = field(default_factory=dict)

    def add(self, step: int, value: float | None, low: float | None, high: float | None, special: int) -> None:
        self.steps.append(step)
        self.values.append(value)
        self.lows.append(low)
        self.highs.append(high)
        if special:
            self.marks[step] = WORDS[special]


def read_series(
    job: UUID,
    *,
    names: Sequence[str] | None = None,
    after: int = -1,
    up_to: int | None = None,
    buckets: int = MAX_BUCKETS,
) -> list[Series]:
    """The series of a job (the first `MAX_SERIES` by name unless `names` are given) from beyond `after` to `up_to`."""
    end = _LAST if up_to is None else up_to
    known = _series_of(job, names, after, end)
    found = {key: Series(name) for key, name, _, _ in known}
    zoomed = [key for key, _, first, last in known if after >= first or end < last]
    exact = _few_points(zoomed, after, end, buckets * _EXACT_PER_BUCKET) if zoomed else []
    for key, points in _exactly(exact, after, end):
        for point in points:
            special = special_of(point.value)
            value = None if special else point.value
            found[key].add(point.step, value, value, value, special)
    for key, step, low, high, total, count, special in _in_buckets(
        [key for key in found if key not in exact], after, end, max(1, min(buckets, MAX_BUCKETS))
    ):
        found[key].add(step, total / count if count else None, low, high, special)
    return [one for one in found.values() if one.steps]


def read_points(job: UUID, name: str, *, after: int = -1, limit: int = 1000) -> list[Point]:
    """Up to `limit` points of one series beyond step `after`, as they were sent."""
    series, chunks = table_of(MetricSeries), table_of(SealedChunk)
    mine = (series.c.job_id == database_id(job)) & (series.c.name == name)
    found: list[Point] = []
    for (key,) in fetch_all(select(series.c.id).where(mine)):
        while len(found) < limit:
            beyond = (chunks.c.series_id == key) & (chunks.c.last_step > after)
            rows = fetch_all(select(chunks.c.data).where(beyond).order_by(chunks.c.first_step).limit(1))
            if not rows:
                break
            found += [point for point in unpack(bytes(rows[0][0])) if point.step > after]
            after = found[-1].step
        found += _loose(key, after, limit)
    return found[:limit]


def last_values(job: UUID, *, limit: int = MAX_SERIES) -> dict[str, float]:
    """The newest value of each series, the first `limit` by name."""
    series = table_of(MetricSeries)
    columns = select(series.c.name, series.c.last_value, series.c.last_special)
    rows = fetch_all(columns.where(series.c.job_id == database_id(job)).order_by(series.c.name).limit(limit))
    return {str(name): value_of(value, special) for name, value, special in rows}


def newest_points(jobs: Sequence[UUID]) -> dict[UUID, dict[str, Point]]:
    """The newest point of every series of these jobs, by name. One query."""
    series, keys = table_of(MetricSeries), {database_id(job): job for job in jobs}
    columns = select(
        series.c.job_id, series.c.name, series.c.last_step, series.c.last_value, series.c.last_special, series.c.last_at
    )
    found: dict[UUID, dict[str, Point]] = {}
    mine = columns.where(series.c.job_id.in_(list(keys))).order_by(series.c.job_id, series.c.name)
    for key, name, step, value, special, at in fetch_all(mine):
        found.setdefault(keys[key], {})[name] = as_point(step, value, special, at)
    return found


def points_of(names: Mapping[UUID, str]) -> dict[UUID, list[Point]]:
    """Of each job, the points of the one series that is named. Three queries for all of them."""
    series = table_of(MetricSeries)
    jobs = {database_id(job): job for job in names}
    columns = select(series.c.id, series.c.job_id, series.c.name)
    mine = columns.where(series.c.job_id.in_(list(jobs)), series.c.name.in_(set(names.values())))
    keys = {key: jobs[job] for key, job, name in fetch_all(mine) if names[jobs[job]] == name}
    found: dict[UUID, list[Point]] = {}
    for key, points in _exactly(list(keys), -1, _LAST):
        found.setdefault(keys[key], []).extend(points)
    return found


def points_beyond(ends: dict[int, int], *, limit: int) -> dict[int, list[Point]]:
    """The points of each series after its step in `ends`, by key.

    A series is left out when some of them are packed by now, and all are when there are more than `limit`.
    """
    loose, series = table_of(LoosePoint), table_of(MetricSeries)
    columns = select(loose.c.series_id, loose.c.step, loose.c.value, loose.c.special, loose.c.at, series.c.sealed_to)
    beyond = loose.c.series_id.in_(list(ends)) & (loose.c.step > min(ends.values(), default=0))
    joined = columns.select_from(loose.join(series, series.c.id == loose.c.series_id)).where(beyond)
    found: dict[int, list[Point]] = {}
    rows = fetch_all(joined.order_by(loose.c.series_id, loose.c.step).limit(_MOST_ROWS))
    for key, *row, sealed_to in rows:
        if row[0] > ends[key] >= sealed_to:
            found.setdefault(key, []).append(as_point(*row))
    is_whole = len(rows) < _MOST_ROWS and sum(map(len, found.values())) <= limit
    return found if is_whole else {}


def is_finite(point: Point) -> bool:
    return special_of(point.value) == 0


def _series_of(job: UUID, names: Sequence[str] | None, after: int, end: int) -> list[tuple[int, str, int, int]]:
    """(key, name, first step, last step), by name."""
    series = table_of(MetricSeries)
    mine = (series.c.job_id == database_id(job)) & (series.c.last_step > after) & (series.c.first_step <= end)
    if names is not None:
        mine &= series.c.name.in_(list(names)[:MAX_SERIES])
    columns = select(series.c.id, series.c.name, series.c.first_step, series.c.last_step)
    rows = fetch_all(columns.where(mine).order_by(series.c.name).limit(MAX_SERIES))
    return [(key, name, first, last) for key, name, first, last in rows]


def _few_points(keys: list[int], after: int, end: int, most: int) -> list[int]:
    """Those with sealed points in this part, and few enough of them to be shown one by one."""
    summary = table_of(SeriesSummary)
    inside = summary.c.series_id.in_(keys) & (summary.c.step > after) & (summary.c.step <= end)
    points = func.sum(summary.c.count)
    rows = fetch_all(
        select(summary.c.series_id).where(inside).group_by(summary.c.series_id).having(points.between(1, most))
    )
    return [key for (key,) in rows]


def _exactly(keys: list[int], after: int, end: int) -> Iterator[tuple[int, list[Point]]]:
    if not keys:
        return
    chunks, loose = table_of(SealedChunk), table_of(LoosePoint)
    overlaps = chunks.c.series_id.in_(keys) & (chunks.c.last_step > after) & (chunks.c.first_step <= end)
    packed = fetch_all(
        select(chunks.c.series_id, chunks.c.data).where(overlaps).order_by(chunks.c.series_id, chunks.c.first_step)
    )
    inside = loose.c.series_id.in_(keys) & (loose.c.step > after) & (loose.c.step <= end)
    rows = fetch_all(
        select(loose.c.series_id, loose.c.step, loose.c.value, loose.c.special, loose.c.at)
        .where(inside)
        .order_by(loose.c.series_id, loose.c.step)
    )
    for key, parts in groupby(packed, key=lambda row: int(row[0])):
        points = [point for part in parts for point in unpack(bytes(part[1])) if after < point.step <= end]
        yield key, points
    for key, tail in groupby(rows, key=lambda row: int(row[0])):
        yield key, [as_point(*row[1:]) for row in tail]


def _loose(key: int, after: int, limit: int) -> list[Point]:
    loose = table_of(LoosePoint)
    columns = select(loose.c.step, loose.c.value, loose.c.special, loose.c.at)
    beyond = (loose.c.series_id == key) & (loose.c.step > after)
    return [as_point(*row) for row in fetch_all(columns.where(beyond).order_by(loose.c.step).limit(limit))]


def _in_buckets(keys: list[int], after: int, end: int, buckets: int) -> list[tuple[Any, ...]]:
    """(series, last step, lowest, highest, sum, number of finite points, special), a row for each bucket.

    Buckets are equal spans of steps. Of sealed points the summaries are read, which is why a bucket's border may be a
    few points off.
    """
    if not keys:
        return []
    series, points = table_of(MetricSeries), _points_and_summaries(keys, after, end)
    first, last = _whole(series.c.first_step), _whole(series.c.last_step)
    start = case((first > after, first), else_=literal(after + 1, BigInteger))
    stop = case((last < end, last), else_=literal(end, BigInteger))
    width = (stop - start) // buckets + 1
    bucket = (_whole(points.c.step) - start) // width
    newest = func.max(points.c.step)
    return fetch_all(
        select(
            series.c.id,
            newest,
            func.min(points.c.low),
            func.max(points.c.high),
            func.sum(points.c.total),
            func.sum(points.c.count),
            func.max(points.c.special),
        )
        .select_from(points.join(series, series.c.id == points.c.series_id))
        .group_by(series.c.id, bucket)
        .order_by(series.c.id, newest)
    )


def _points_and_summaries(keys: list[int], after: int, end: int) -> Subquery:
    loose, summary = table_of(LoosePoint), table_of(SeriesSummary)
    one = select(
        loose.c.series_id,
        loose.c.step,
        loose.c.value.label("low"),
        loose.c.value.label("high"),
        loose.c.value.label("total"),
        case((loose.c.special == 0, 1), else_=0).label("count"),
        loose.c.special,
    ).where(loose.c.series_id.in_(keys), loose.c.step > after, loose.c.step <= end)
    several = select(
        summary.c.series_id,
        summary.c.step,
        summary.c.low,
        summary.c.high,
        summary.c.total,
        summary.c.count,
        summary.c.special,
    ).where(summary.c.series_id.in_(keys), summary.c.step > after, summary.c.step <= end)
    return union_all(one, several).subquery()


def _whole(column: ColumnElement[Any]) -> ColumnElement[int]:
    """A column as a whole number, so that its division is one on every database."""
    return type_coerce(column, BigInteger)
