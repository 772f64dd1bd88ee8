"""`/api/v1/jobs`: asking for jobs, watching and cancelling them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status

from steelyard_contracts.jobs import AttemptView, CloneRequest, JobRequest, JobState, JobView, json_value
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.api.paging import Page
from steelyard_platform.jobs import series, services
from steelyard_platform.jobs.finding import Wanted, find_jobs
from steelyard_platform.jobs.models import Attempt, LogLine
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of

router = Router(tags=["jobs"])
_LOG_PAGE = 1000
_MOST_POINTS = 10_000


class SeriesView(Schema):
    """Parallel lists, steps ascending: of each bucket the last step, the mean, the lowest and the highest value.

    Null where a bucket holds no finite number; `marks` says at which steps there is NaN, Infinity or -Infinity.
    """

    name: str
    steps: list[int]
    values: list[float | None]
    lows: list[float | None]
    highs: list[float | None]
    marks: dict[int, str]


class SeriesName(Schema):
    """`last_value` is null where it is no finite number."""

    name: str
    first_step: int
    last_step: int
    last_value: float | None


class PointView(Schema):
    """`value` is "NaN", "Infinity" or "-Infinity" where it is not finite. `timestamp`: milliseconds since 1970."""

    step: int
    value: float | str
    timestamp: int


class LogLineView(Schema):
    id: int
    attempt: int
    number: int
    text: str


class LogPage(Schema):
    """Ask again with `after` set to the last line's id; an empty list means nothing new."""

    lines: list[LogLineView]


@router.post("", response={201: JobView})
def add_job(request: HttpRequest, body: JobRequest) -> Status[JobView]:
    """Queues a job. Its references are pinned to versions now, so that its data cannot change under it."""
    job = services.request_job(spec=body.spec, resources=body.resources, actor=api_actor(request))
    return Status(201, services.view_of(job))


@router.get("", response=Page[JobView])
def list_jobs(
    request: HttpRequest,
    team: str = "",
    kind: str = "",
    state: JobState | None = None,
    text: Annotated[str, Query(max_length=200)] = "",
    cloned_from: UUID | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """The jobs of the caller's teams, newest first; `text`: words of what was asked for, who asked, or what it says."""
    wanted = Wanted(team=team, kind=kind, state=state or "", text=text, cloned_from=cloned_from)
    items, following = find_jobs(api_actor(request), wanted, cursor=cursor, limit=limit)
    return {"items": [services.view_of(item) for item in items], "next": following}


@router.get("/{uuid:job_id}", response=JobView)
def get_job(request: HttpRequest, job_id: UUID) -> JobView:
    return services.view_of(services.find_job(job_id, api_actor(request)))


@router.post("/{uuid:job_id}/cancel", response=JobView)
def cancel_job(request: HttpRequest, job_id: UUID) -> JobView:
    """A queued job ends now; a running one at its worker's next heartbeat."""
    actor = api_actor(request)
    return services.view_of(services.cancel_job(job=services.find_job(job_id, actor), actor=actor))


@router.post("/{uuid:job_id}/stop", response=JobView)
def stop_job(request: HttpRequest, job_id: UUID) -> JobView:
    """A training ends at its next step and commits its best state so far."""
    actor = api_actor(request)
    return services.view_of(services.stop_job(job=services.find_job(job_id, actor), actor=actor))


@router.post("/{uuid:job_id}/resume", response=JobView)
def resume_job(request: HttpRequest, job_id: UUID) -> JobView:
    """Queues a job that ended without success; it goes on from its last checkpoint."""
    actor = api_actor(request)
    return services.view_of(services.resume_job(job=services.find_job(job_id, actor), actor=actor))


@router.post("/{uuid:job_id}/clone", response={201: JobView})
def clone_job(request: HttpRequest, job_id: UUID, body: CloneRequest) -> Status[JobView]:
    """Queues a job like this one, on the same versions, but for the changes."""
    actor = api_actor(request)
    found = services.find_job(job_id, actor)
    return Status(201, services.view_of(services.clone_job(job=found, changes=body.changes, actor=actor)))


@router.get("/{uuid:job_id}/attempts", response=Page[AttemptView])
def list_attempts(
    request: HttpRequest, job_id: UUID, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    """Who tried, how that ended and why; the newest first."""
    job = services.find_job(job_id, api_actor(request))
    items, following = page_of(Attempt.objects.filter(job=job), field="number", cursor=cursor, limit=limit)
    return {"items": [services.attempt_view(item) for item in items], "next": following}


@router.get("/{uuid:job_id}/metrics", response=list[SeriesView])
def get_metrics(
    request: HttpRequest,
    job_id: UUID,
    names: Annotated[list[str] | None, Query()] = None,
    after: int = -1,
    upto: Annotated[int | None, Query()] = None,
    buckets: Annotated[int, Query(ge=1, le=series.MAX_BUCKETS)] = series.MAX_BUCKETS,
) -> list[SeriesView]:
    """The series named (else the first 200 by name), beyond step `after` and up to `upto`, in about `buckets` spans."""
    job = services.find_job(job_id, api_actor(request))
    found = series.read_series(job.pk, names=names, after=after, up_to=upto, buckets=buckets)
    return [SeriesView(**asdict(one)) for one in found]


@router.get("/{uuid:job_id}/metric-names", response=Page[SeriesName])
def list_metric_names(
    request: HttpRequest, job_id: UUID, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    """The names of a job's series, each with where it ends."""
    job = services.find_job(job_id, api_actor(request))
    rows = MetricSeries.objects.filter(job=job)
    items, following = page_of(rows, field="name", cursor=cursor, limit=limit, ascending=True, read=str)
    return {"items": items, "next": following}


@router.get("/{uuid:job_id}/metric-history", response=list[PointView])
def get_metric_points(
    request: HttpRequest,
    job_id: UUID,
    name: str,
    after: int = -1,
    limit: Annotated[int, Query(ge=1, le=_MOST_POINTS)] = _MOST_POINTS,
) -> list[PointView]:
    """The points of one series as they were sent, beyond step `after`; an empty list means no more."""
    job = services.find_job(job_id, api_actor(request))
    points = series.read_points(job.pk, name, after=after, limit=limit)
    return [PointView(step=one.step, value=json_value(one.value), timestamp=one.at) for one in points]


@router.get("/{uuid:job_id}/logs", response=LogPage)
def get_logs(request: HttpRequest, job_id: UUID, after: int = 0) -> LogPage:
    """Lines in the order they arrived."""
    job = services.find_job(job_id, api_actor(request))
    rows = LogLine.objects.filter(job=job, pk__gt=after).order_by("pk")[:_LOG_PAGE]
    return LogPage(
        lines=[LogLineView(id=row.pk, attempt=row.attempt, number=row.number, text=row.text) for row in rows]
    )
