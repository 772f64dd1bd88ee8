"""Jobs: the list, and one job live. The page asks for its parts again; nothing is reloaded."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.jobs import JobState
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.jobs import series, services
from steelyard_platform.jobs.models import Job, LogLine
from steelyard_platform.pages.rendering import live_partial, page, signed_in
from steelyard_platform.repos.models import Repository

_PAGE = 50
_LOG_LINES = 1000


@page
def listing(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    rows = (
        Job.objects.filter(team_id__in=list(page_actor(request).roles)).select_related("team").order_by("-created_at")
    )
    if before := request.GET.get("before"):
        rows = rows.filter(created_at__lt=before)
    found = list(rows[: _PAGE + 1])
    return render(request, "jobs/list.html", {"jobs": found[:_PAGE], "has_more": len(found) > _PAGE})


@page
def detail(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    actor = page_actor(request)
    job = services.find_job(job_id, actor)
    context = _status(job) | {
        "repository": Repository.objects.select_related("team").filter(pk=job.repository).first(),
        "may_cancel": may(actor, Action.RUN_JOBS, job.team.resource),
        "spec": {key: value for key, value in job.spec.items() if value not in (None, "", "none") and key != "kind"},
    }
    return render(request, "jobs/detail.html", context)


@page
def status(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    job = services.find_job(job_id, page_actor(request))
    return live_partial(request, "jobs/status.html", _status(job), is_final=JobState(job.state).is_final)


@page
def series_json(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """The chart's data, and whether more is to come."""
    job = services.find_job(job_id, page_actor(request))
    found = [{"name": one.name, "steps": one.steps, "values": one.values} for one in series.read_series(job.pk)]
    return JsonResponse({"series": found, "final": JobState(job.state).is_final})


@page
def log_json(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """Lines after the last one that the page has."""
    job = services.find_job(job_id, page_actor(request))
    after = request.GET.get("after", "0")
    rows = LogLine.objects.filter(job=job, pk__gt=int(after) if after.isdigit() else 0).order_by("pk")[:_LOG_LINES]
    lines = [{"id": row.pk, "text": row.text, "attempt": row.attempt} for row in rows]
    return JsonResponse({"lines": lines, "final": JobState(job.state).is_final})


@page
@require_POST
def cancel(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    actor = page_actor(request)
    services.cancel_job(job=services.find_job(job_id, actor), actor=actor)
    return HttpResponseRedirect(f"/jobs/{job_id}")


def _status(job: Job) -> dict[str, object]:
    return {"job": job, "last": series.last_values(job.pk), "is_final": JobState(job.state).is_final}
