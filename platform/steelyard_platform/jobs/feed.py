"""What has happened to a job since somebody last looked: its state, new points, log lines and samples.

A cursor says how far somebody has seen. It means the same to every web process, so that a stream that broke off in one
goes on in another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.db.models import Max

from steelyard_contracts.jobs import JobState
from steelyard_platform.jobs import series
from steelyard_platform.jobs.estimates import remaining_seconds
from steelyard_platform.jobs.models import Job, LogLine, Sample
from steelyard_platform.jobs.run_facts import silent_since
from steelyard_platform.jobs.samples import view_of_sample
from steelyard_platform.jobs.series_tables import MetricSeries

MOST_LINES = 1000
# With more new points than this in one look, whoever shows them asks for buckets instead.
MOST_POINTS = 2000
_CURSOR = re.compile(r"(\d{1,18})-(\d{1,18})-(\d{1,18})")


class Cursor(NamedTuple):
    """The newest write of points, log line and sample that were seen."""

    revision: int = 0
    line: int = 0
    sample: int = 0

    def __str__(self) -> str:
        return "-".join(map(str, self))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None for what is no cursor."""
        found = _CURSOR.fullmatch(text)
        return cls(*map(int, found.groups())) if found else None


@dataclass(frozen=True, slots=True)
class Changes:
    """`body`: what a page is told, as JSON has it. `ends`: of each series that was written to, its last step."""

    cursor: Cursor
    body: dict[str, Any]
    ends: dict[str, int]


def status_of(job: Job) -> dict[str, Any]:
    """What changes of the job's row while it runs."""
    return {
        "state": job.state,
        "final": JobState(job.state).is_final,
        "message": job.message,
        "error": job.error,
        "progress": job.progress,
        "attempt": job.attempt,
        "cancel_requested": job.cancel_requested_at is not None,
        "eta_seconds": remaining_seconds(job),
        "silent_since": since.isoformat() if (since := silent_since(job)) else None,
    }


def present(job_id: UUID) -> tuple[Cursor, dict[str, int]]:
    """How far the job is now, and where its series end."""
    rows = MetricSeries.objects.filter(job=job_id)
    cursor = Cursor(
        rows.aggregate(newest=Max("revision"))["newest"] or 0,
        LogLine.objects.filter(job=job_id).aggregate(newest=Max("pk"))["newest"] or 0,
        Sample.objects.filter(job=job_id).aggregate(newest=Max("pk"))["newest"] or 0,
    )
    return cursor, dict(rows.order_by("name").values_list("name", "last_step")[: series.MAX_SERIES])


def line_for_page(line: LogLine) -> dict[str, Any]:
    """`id` says which came after which; `attempt` and `number`, where it stands."""
    return {"id": line.pk, "attempt": line.attempt, "number": line.number, "text": line.text}


def changes_since(job: Job, cursor: Cursor, ends: dict[str, int] | None = None) -> Changes:
    """What came after `cursor`.

    With `ends`, where the reader's series end, the new points themselves come along, unless a series was changed before
    its end or there are too many; without, the names of the series that changed.
    """
    written = MetricSeries.objects.filter(job=job, revision__gt=cursor.revision).order_by("name")[: series.MAX_SERIES]
    rows = list(written)
    lines = list(LogLine.objects.filter(job=job, pk__gt=cursor.line).order_by("pk")[:MOST_LINES])
    samples = list(Sample.objects.filter(job=job, pk__gt=cursor.sample).order_by("pk"))
    body: dict[str, Any] = {
        "status": status_of(job),
        "series": [{"name": row.name, "last_step": row.last_step, "last_value": row.last_value} for row in rows],
        "lines": [line_for_page(line) for line in lines],
        "samples": [view_of_sample(one).model_dump() for one in samples],
    }
    if ends is not None and rows:
        body["points"] = _new_points(rows, ends)
    seen = Cursor(
        max([cursor.revision, *(row.revision for row in rows)]),
        lines[-1].pk if lines else cursor.line,
        samples[-1].pk if samples else cursor.sample,
    )
    return Changes(seen, body, {row.name: row.last_step for row in rows})


def _new_points(rows: list[MetricSeries], ends: dict[str, int]) -> dict[str, list[list[float | int | None]]]:
    """[step, value] beyond the ends, by name; without a series whose change is not all at its end."""
    grown = {row.pk: (row.name, ends.get(row.name, -1)) for row in rows if row.last_step > ends.get(row.name, -1)}
    found = series.points_beyond({key: end for key, (_, end) in grown.items()}, limit=MOST_POINTS)
    return {
        grown[key][0]: [[one.step, one.value if series.is_finite(one) else None] for one in points]
        for key, points in found.items()
    }
