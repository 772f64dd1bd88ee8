"""`/api/v1/jobs`: asking for jobs, watching and cancelling them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema, Status

from steelyard_contracts.jobs import JobRequest, JobState, JobView
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.api.paging import Page
from steelyard_platform.jobs import series, services
from steelyard_platform.jobs.models import Job, LogLine
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of

router = Router(tags=["jobs"])
_LOG_PAGE = 1000


class SeriesView(Schema):
    """Parallel lists, steps ascending."""

    name: str
    steps: list[int]
    values: list[float]


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
    job = services.request_job(spec=body.spec, actor=api_actor(request))
    return Status(201, services.view_of(job))


@router.get("", response=Page[JobView])
def list_jobs(
    request: HttpRequest,
    team: str | None = None,
    state: JobState | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """The jobs of the caller's teams, newest first."""
    actor = api_actor(request)
    teams = [one for one in Team.objects.filter(pk__in=list(actor.roles)) if may(actor, Action.READ, one.resource)]
    rows = Job.objects.filter(team__in=teams).select_related("team")
    if team is not None:
        rows = rows.filter(team__name__iexact=team)
    if state is not None:
        rows = rows.filter(state=state)
    items, following = page_of(rows, field="created_at", cursor=cursor, limit=limit)
    return {"items": [services.view_of(item) for item in items], "next": following}


@router.get("/{uuid:job_id}", response=JobView)
def get_job(request: HttpRequest, job_id: UUID) -> JobView:
    return services.view_of(services.find_job(job_id, api_actor(request)))


@router.post("/{uuid:job_id}/cancel", response=JobView)
def cancel_job(request: HttpRequest, job_id: UUID) -> JobView:
    """A queued job ends now; a running one at its worker's next heartbeat."""
    actor = api_actor(request)
    return services.view_of(services.cancel_job(job=services.find_job(job_id, actor), actor=actor))


@router.get("/{uuid:job_id}/metrics", response=list[SeriesView])
def get_metrics(request: HttpRequest, job_id: UUID, after: int = -1) -> list[SeriesView]:
    """Every series beyond step `after`, at most 500 points each (means of equal spans beyond that)."""
    job = services.find_job(job_id, api_actor(request))
    return [
        SeriesView(name=one.name, steps=one.steps, values=one.values) for one in series.read_series(job.pk, after=after)
    ]


@router.get("/{uuid:job_id}/logs", response=LogPage)
def get_logs(request: HttpRequest, job_id: UUID, after: int = 0) -> LogPage:
    """Lines in the order they arrived."""
    job = services.find_job(job_id, api_actor(request))
    rows = LogLine.objects.filter(job=job, pk__gt=after).order_by("pk")[:_LOG_PAGE]
    return LogPage(
        lines=[LogLineView(id=row.pk, attempt=row.attempt, number=row.number, text=row.text) for row in rows]
    )
