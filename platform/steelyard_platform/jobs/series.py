"""Metric series and logs: written in batches, read as charts need them. SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import bindparam, func, select

from steelyard_contracts.jobs import LogLine as LogLineWire
from steelyard_contracts.jobs import MetricPoint as MetricPointWire
from steelyard_platform.jobs.models import LogLine, MetricPoint
from steelyard_platform.storage.core_tables import database_id, execute_many, fetch_all, insert_into, table_of

MAX_BUCKETS = 500


@dataclass(frozen=True, slots=True)
class Series:
    """Parallel lists, steps ascending. With more points than buckets, each value is its bucket's mean."""

    name: str
    steps: list[int]
    values: list[float]


def write_points(job: UUID, points: Sequence[MetricPointWire]) -> None:
    """A point sent again replaces itself, so that neither a retry nor a resumed attempt doubles anything."""
    names = ("job_id", "name", "step", "value")
    statement = insert_into(MetricPoint).values({name: bindparam(name) for name in names})
    statement = statement.on_conflict_do_update(
        index_elements=["job_id", "name", "step"], set_={"value": statement.excluded.value}
    )
    key = database_id(job)
    execute_many(statement, [{"job_id": key, "name": one.name, "step": one.step, "value": one.value} for one in points])


def read_series(job: UUID, *, after: int = -1, buckets: int = MAX_BUCKETS) -> list[Series]:
    """Every series of a job beyond step `after`, each with at most about `buckets` points."""
    points = table_of(MetricPoint)
    mine = (points.c.job_id == database_id(job)) & (points.c.step > after)
    spans = fetch_all(
        select(points.c.name, func.min(points.c.step), func.max(points.c.step)).where(mine).group_by(points.c.name)
    )
    found = []
    for name, first, last in sorted(spans):
        width = max((last - first) // buckets + 1, 1)
        bucket = points.c.step // width
        rows = fetch_all(
            select(func.max(points.c.step), func.avg(points.c.value))
            .where(mine & (points.c.name == name))
            .group_by(bucket)
            .order_by(func.max(points.c.step))
        )
        found.append(Series(name, [row[0] for row in rows], [row[1] for row in rows]))
    return found


def last_values(job: UUID) -> dict[str, float]:
    """The newest value of each series."""
    points = table_of(MetricPoint)
    mine = points.c.job_id == database_id(job)
    newest = select(points.c.name, func.max(points.c.step).label("step")).where(mine).group_by(points.c.name).subquery()
    same = (points.c.name == newest.c.name) & (points.c.step == newest.c.step)
    rows = fetch_all(select(points.c.name, points.c.value).select_from(points.join(newest, same)).where(mine))
    return dict(sorted((str(name), float(value)) for name, value in rows))


def write_lines(job: UUID, attempt: int, lines: Sequence[LogLineWire]) -> None:
    """A line sent again changes nothing."""
    names = ("job_id", "attempt", "number", "text")
    statement = insert_into(LogLine).values({name: bindparam(name) for name in names}).on_conflict_do_nothing()
    key = database_id(job)
    rows = [{"job_id": key, "attempt": attempt, "number": line.number, "text": line.text} for line in lines]
    execute_many(statement, rows)
