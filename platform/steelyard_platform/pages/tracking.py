"""The runs of a project: trainings that were done elsewhere and report to it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.jobs.finding import Wanted, find_jobs, headlines
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import RUN, silent_since
from steelyard_platform.pages.rendering import page
from steelyard_platform.pages.repositories import repository_context
from steelyard_platform.repos.queries import find_repository

_PAGE = 50
_STATES = (JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@page
def runs(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """Newest first; what is asked for stays in the address."""
    actor, asked = page_actor(request), request.GET
    repository = find_repository(actor, RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)
    wanted = Wanted(kind=RUN, repository=repository.pk, state=asked.get("state", ""), text=asked.get("text", ""))
    fault, found, following = "", list[Job](), None
    try:
        found, following = find_jobs(actor, wanted, cursor=asked.get("cursor"), limit=_PAGE)
    except InvalidInputError as error:
        fault = str(error)
    older = asked.copy()
    if following:
        older["cursor"] = following
    measured = zip(found, headlines(found), strict=True)
    context = repository_context(request, repository, "runs") | {
        "rows": [(job, headline, silent_since(job)) for job, headline in measured],
        "older": older.urlencode() if following else "",
        "asked": wanted,
        "fault": fault,
        "states": _STATES,
        "is_hidden": not may(actor, Action.READ, repository.team.resource),
    }
    return render(request, "repository/runs.html", context)
