"""The first page, and lists of repositories."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.models import Team
from steelyard_platform.jobs.models import Job
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.repos.queries import search, visible_repositories

_SHOWN = 8
_PAGE = 50


@page
def home(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    actor = page_actor(request)
    visible = visible_repositories(actor).order_by("-updated_at")
    teams = Team.objects.filter(pk__in=list(actor.roles)).order_by("name")
    context = {
        "models": visible.filter(kind=RepositoryKind.MODEL)[:_SHOWN],
        "datasets": visible.filter(kind=RepositoryKind.DATASET)[:_SHOWN],
        "jobs": Job.objects.filter(team__in=teams).select_related("team").order_by("-created_at")[:_SHOWN],
        "teams": teams,
    }
    return render(request, "home.html", context)


@page
def listing(request: HttpRequest, kind: str) -> HttpResponseBase:
    """`/models` and `/datasets`, with a search box; `before` continues the list."""
    text = request.GET.get("search", "")
    rows = visible_repositories(page_actor(request)).filter(kind=RepositoryKind(kind)).order_by("-updated_at")
    if text:
        rows = search(rows, text)
    if before := request.GET.get("before"):
        rows = rows.filter(updated_at__lt=before)
    found = list(rows[: _PAGE + 1])
    context = {"kind": kind, "repositories": found[:_PAGE], "has_more": len(found) > _PAGE, "search": text}
    return render(request, "repositories.html", context)
