"""Points go in here: in batches, in any order, as often as somebody sends them. SQLAlchemy Core.

Who calls holds the job's row, so that one writer at a time is at work on a job's series.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, bindparam, case, delete, func, select, update

from steelyard_contracts.jobs import MetricPoint
from steelyard_platform.jobs.series.packing import CHUNK, Point, as_point, pack, special_of, summaries, unpack
from steelyard_platform.jobs.series_tables import LoosePoint, MetricSeries, SealedChunk, SeriesSummary
from steelyard_platform.storage.core_tables import (
    database_id,
    execute,
    execute_many,
    fetch_all,
    insert_many,
    table_of,
)

# With as many loose points, a series is sealed up to its newest `CHUNK`.
SEAL_AT = 2 * CHUNK
# What is measured of the machine is by its clock, not by the training's steps: going back to a checkpoint undoes none.
METERS = "system/"

_Points = dict[int, Point]


class _Chunk(NamedTuple):
    series: int
    first_step: int
    last_step: int
    points: list[Point]


def write_points(job: UUID, points: Sequence[MetricPoint]) -> None:
    """A point sent again replaces itself, so that neither a retry nor a resumed attempt doubles anything."""
    batch = _by_name(points)
    if not batch:
        return
    revision = _next_revision(job)
    _note_series(job, batch, revision)
    series = table_of(MetricSeries)
    mine = (series.c.job_id == database_id(job)) & (series.c.revision == revision)
    loose: list[tuple[int, Point]] = []
    to_seal = []
    for key, name, sealed_to, count in fetch_all(
        select(series.c.id, series.c.name, series.c.sealed_to, series.c.loose).where(mine)
    ):
        late = {step: point for step, point in batch[name].items() if step <= sealed_to}
        if late:
            _write_late(key, late)
        loose += [(key, point) for step, point in batch[name].items() if step > sealed_to]
        if count >= SEAL_AT:
            to_seal.append(key)
    _write_loose(loose)
    for key in to_seal:
        _seal(key)


def drop_points_beyond(job: UUID, step: int) -> None:
    """Every series ends at `step`: a run that goes on from there writes what follows anew. The machine's own stay."""
    series, loose, chunks = table_of(MetricSeries), table_of(LoosePoint), table_of(SealedChunk)
    mine = (series.c.job_id == database_id(job)) & (series.c.last_step > step) & ~series.c.name.startswith(METERS)
    keys = select(series.c.id).where(mine)
    for chunk in _read_chunks(chunks.c.series_id.in_(keys) & (chunks.c.last_step > step)):
        _replace(chunk, [point for point in chunk.points if point.step <= step])
    execute(delete(loose).where(loose.c.series_id.in_(keys) & (loose.c.step > step)))
    _find_last_again([key for (key,) in fetch_all(keys)], _next_revision(job))


def _by_name(points: Sequence[MetricPoint]) -> dict[str, _Points]:
    now = int(time.time() * 1000)
    batch: dict[str, _Points] = defaultdict(dict)
    for point in points:
        at = now if point.timestamp is None else point.timestamp
        batch[point.name][point.step] = Point(point.step, point.value, at)
    return batch


def _next_revision(job: UUID) -> int:
    series = table_of(MetricSeries)
    ((newest,),) = fetch_all(select(func.max(series.c.revision)).where(series.c.job_id == database_id(job)))
    return int(newest or 0) + 1


_OF_SERIES = ("job_id", "name", "first_step", "loose", "sealed_to", "revision")
_OF_LAST = ("last_step", "last_value", "last_special", "last_at")


def _note_series(job: UUID, batch: dict[str, _Points], revision: int) -> None:
    """A row for each name, with where the series begins and ends now."""
    rows = [
        (database_id(job), name, min(points), len(points), -1, revision, *_last(points[max(points)]).values())
        for name, points in batch.items()
    ]
    insert_many(MetricSeries, (*_OF_SERIES, *_OF_LAST), rows, replace=("job_id", "name"), changes=_continued)


def _continued(new: Any) -> dict[str, Any]:
    """What becomes of a series that is there."""
    known = table_of(MetricSeries).c
    is_newer = new.last_step >= known.last_step
    return {name: case((is_newer, new[name]), else_=known[name]) for name in _OF_LAST} | {
        "first_step": case((new.first_step < known.first_step, new.first_step), else_=known.first_step),
        "loose": known.loose + new.loose,
        "revision": new.revision,
    }


def _last(point: Point) -> dict[str, object]:
    """The columns of `_OF_LAST`, in their order."""
    special = special_of(point.value)
    return {
        "last_step": point.step,
        "last_value": None if special else point.value,
        "last_special": special,
        "last_at": point.at,
    }


def _write_loose(points: Iterable[tuple[int, Point]]) -> None:
    rows = []
    for key, point in points:
        special = special_of(point.value)
        rows.append((key, point.step, None if special else point.value, special, point.at))
    insert_many(LoosePoint, ("series_id", "step", "value", "special", "at"), rows, replace=("series_id", "step"))


def _seal(key: int) -> None:
    """Packs the older ones of a series' loose points."""
    loose, series = table_of(LoosePoint), table_of(MetricSeries)
    mine = loose.c.series_id == key
    rows = fetch_all(
        select(loose.c.step, loose.c.value, loose.c.special, loose.c.at).where(mine).order_by(loose.c.step)
    )
    to_pack = max(len(rows) - CHUNK, 0) // CHUNK * CHUNK
    changes = {"loose": len(rows) - to_pack}
    if to_pack:
        sealed_to = rows[to_pack - 1][0]
        _write_sealed(key, [as_point(*row) for row in rows[:to_pack]])
        execute(delete(loose).where(mine & (loose.c.step <= sealed_to)))
        changes["sealed_to"] = sealed_to
    execute(update(series).where(series.c.id == key).values(changes))


def _write_sealed(key: int, points: Sequence[Point]) -> None:
    parts = [points[start : start + CHUNK] for start in range(0, len(points), CHUNK)]
    insert_many(
        SealedChunk,
        ("series_id", "first_step", "last_step", "data"),
        [(key, part[0].step, part[-1].step, pack(part)) for part in parts],
    )
    insert_many(
        SeriesSummary,
        ("series_id", "step", "low", "high", "total", "count", "special"),
        [(key, s.step, s.low, s.high, s.total, s.count, s.special) for part in parts for s in summaries(part)],
    )


def _write_late(key: int, late: _Points) -> None:
    """Points among those that are sealed: each belongs to the first chunk that does not end before it."""
    chunks = table_of(SealedChunk)
    mine = chunks.c.series_id == key
    ends = [end for (end,) in fetch_all(select(chunks.c.last_step).where(mine).order_by(chunks.c.last_step))]
    by_end: dict[int, _Points] = defaultdict(dict)
    for step, point in late.items():
        by_end[ends[bisect_left(ends, step)]][step] = point
    for chunk in _read_chunks(mine & chunks.c.last_step.in_(list(by_end))):
        known = {point.step: point for point in chunk.points}
        merged = known | by_end[chunk.last_step]
        # Compared as text: a value that is not a number equals nothing, itself included.
        if repr(sorted(merged.items())) != repr(sorted(known.items())):
            _replace(chunk, [merged[step] for step in sorted(merged)])


def _read_chunks(condition: ColumnElement[bool]) -> list[_Chunk]:
    chunks = table_of(SealedChunk)
    columns = select(chunks.c.series_id, chunks.c.first_step, chunks.c.last_step, chunks.c.data)
    rows = fetch_all(columns.where(condition).order_by(chunks.c.series_id, chunks.c.first_step))
    return [_Chunk(key, first, last, unpack(bytes(data))) for key, first, last, data in rows]


def _replace(chunk: _Chunk, points: Sequence[Point]) -> None:
    """The chunk with other points than it had, or none."""
    chunks, summary = table_of(SealedChunk), table_of(SeriesSummary)
    execute(delete(chunks).where((chunks.c.series_id == chunk.series) & (chunks.c.first_step == chunk.first_step)))
    spanned = summary.c.step.between(chunk.first_step, chunk.last_step)
    execute(delete(summary).where((summary.c.series_id == chunk.series) & spanned))
    _write_sealed(chunk.series, points)


def _find_last_again(keys: list[int], revision: int) -> None:
    """Where each series ends, after points were taken from its end; one without any goes."""
    ends = _last_sealed(keys)
    sealed_to = {key: point.step for key, point in ends.items()}
    ends |= _last_loose(keys)
    rows = [
        {"key": key, "sealed": sealed_to.get(key, -1), "revised": revision, **_last(point)}
        for key, point in ends.items()
    ]
    series = table_of(MetricSeries)
    changes: dict[str, BindParameter[Any]] = {name: bindparam(f"new_{name}") for name in _OF_LAST} | {
        "sealed_to": bindparam("sealed"),
        "revision": bindparam("revised"),
    }
    renamed = [{f"new_{name}" if name in _OF_LAST else name: value for name, value in row.items()} for row in rows]
    execute_many(update(series).where(series.c.id == bindparam("key")).values(changes), renamed)
    empty = [key for key in keys if key not in ends]
    if empty:
        execute(delete(series).where(series.c.id.in_(empty)))


def _last_sealed(keys: list[int]) -> dict[int, Point]:
    chunks = table_of(SealedChunk)
    newest = (
        select(chunks.c.series_id, func.max(chunks.c.last_step).label("step"))
        .where(chunks.c.series_id.in_(keys))
        .group_by(chunks.c.series_id)
        .subquery()
    )
    is_newest = select(newest.c.series_id).where(
        (newest.c.series_id == chunks.c.series_id) & (newest.c.step == chunks.c.last_step)
    )
    return {chunk.series: chunk.points[-1] for chunk in _read_chunks(is_newest.exists())}


def _last_loose(keys: list[int]) -> dict[int, Point]:
    loose = table_of(LoosePoint)
    newest = (
        select(loose.c.series_id, func.max(loose.c.step).label("step"))
        .where(loose.c.series_id.in_(keys))
        .group_by(loose.c.series_id)
        .subquery()
    )
    same = (newest.c.series_id == loose.c.series_id) & (newest.c.step == loose.c.step)
    columns = select(loose.c.series_id, loose.c.step, loose.c.value, loose.c.special, loose.c.at)
    rows = fetch_all(columns.select_from(loose.join(newest, same)))
    return {key: as_point(*row) for key, *row in rows}
