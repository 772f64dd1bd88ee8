"""What a job's page asks for by itself: its stream, and the same in pieces for whoever has no stream."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import render

from steelyard_contracts.errors import UnavailableError
from steelyard_contracts.jobs import JobState
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.jobs import feed, series, services
from steelyard_platform.jobs.models import LogLine
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.jobs.watching import EVENT_STREAM, STREAM_HEADERS, hub
from steelyard_platform.pages.job_view import actions_of, panels_of
from steelyard_platform.pages.rendering import page

_LOG_LINES = 1000
_MATCHES = 48


@page
def events(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """Server-sent events; 503 when as many watch as may: the page asks in `live.json` then."""
    job = services.find_job(job_id, page_actor(request))
    try:
        stream = hub.stream(job.pk, request.headers.get("Last-Event-ID", ""))
    except UnavailableError as error:
        return HttpResponse(str(error), status=error.status, content_type="text/plain")
    return StreamingHttpResponse(stream, content_type=EVENT_STREAM, headers=STREAM_HEADERS)


@page
def changes(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """What came after the cursor: one event of the stream, but for the points, of which only the series are named."""
    job = services.find_job(job_id, page_actor(request))
    cursor = feed.Cursor.read(request.GET.get("cursor", ""))
    if cursor is None:
        cursor, _ = feed.present(job.pk)
    found = feed.changes_since(job, cursor)
    return JsonResponse({**found.body, "cursor": str(found.cursor)})


@page
def series_json(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """The charts' data: of the series named, of those whose name has `match` in it, or of the first ones."""
    job = services.find_job(job_id, page_actor(request))
    names = request.GET.getlist("name") or None
    if match := request.GET.get("match", ""):
        rows = MetricSeries.objects.filter(job=job, name__icontains=match).order_by("name")
        names = list(rows.values_list("name", flat=True)[:_MATCHES])
    after, up_to = _number(request, "after"), _number(request, "upto")
    found = series.read_series(job.pk, names=names, after=-1 if after is None else after, up_to=up_to)
    return JsonResponse(
        {
            "series": [asdict(one) for one in found],
            "names": MetricSeries.objects.filter(job=job).count(),
            "final": JobState(job.state).is_final,
        }
    )


@page
def log_json(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """Lines after the last one that the page has; the last ones, when it has none."""
    job = services.find_job(job_id, page_actor(request))
    after, rows = _number(request, "after"), LogLine.objects.filter(job=job)
    if after is None:
        found = list(rows.order_by("-pk")[:_LOG_LINES])[::-1]
    else:
        found = list(rows.filter(pk__gt=after).order_by("pk")[:_LOG_LINES])
    return JsonResponse({"lines": [feed.line_for_page(row) for row in found], "final": JobState(job.state).is_final})


@page
def panels(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """What changes only with the job's state: its attempts, its result, the time it took."""
    job = services.find_job(job_id, page_actor(request))
    return render(request, "jobs/panels.html", panels_of(job))


@page
def actions(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """The buttons that the job's state allows."""
    actor = page_actor(request)
    job = services.find_job(job_id, actor)
    return render(request, "jobs/actions.html", actions_of(job, actor))


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() else None
