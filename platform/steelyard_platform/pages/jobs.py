"""Jobs: the list, and one job. `live_job` has what its page asks for afterwards."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.models import Team
from steelyard_platform.jobs import services
from steelyard_platform.jobs.finding import Wanted, find_jobs, headlines
from steelyard_platform.jobs.models import Job
from steelyard_platform.pages.job_view import actions_of, panels_of, samples_of, status_of
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.repos.models import Repository

_PAGE = 50


@page
def listing(request: HttpRequest) -> HttpResponseBase:
    """Newest first; what is asked for stays in the address."""
    signed_in(request)
    actor, asked = page_actor(request), request.GET
    team, kind, state, text = (asked.get(name, "") for name in ("team", "kind", "state", "text"))
    wanted = Wanted(team=team, kind=kind, state=state, text=text, asked_for=True)
    fault, found, following = "", list[Job](), None
    try:
        found, following = find_jobs(actor, wanted, cursor=asked.get("cursor"), limit=_PAGE)
    except InvalidInputError as error:
        fault = str(error)
    older = asked.copy()
    if following:
        older["cursor"] = following
    context = {
        "rows": [(job, headline) for job, headline in zip(found, headlines(found), strict=True)],
        "older": older.urlencode() if following else "",
        "asked": wanted,
        "fault": fault,
        "teams": Team.objects.filter(pk__in=list(actor.roles)).order_by("name"),
        "states": list(JobState),
        "kinds": ["train", "run", "evaluate", "optimise", "convert", "unpack"],
    }
    return render(request, "jobs/list.html", context)


@page
def detail(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    actor = page_actor(request)
    job = services.find_job(job_id, actor)
    repository = Repository.objects.select_related("team").filter(pk=job.repository).first()
    parts = status_of(job) | actions_of(job, actor) | panels_of(job)
    return render(request, "jobs/detail.html", {**parts, "samples": samples_of(job), "repository": repository})


@page
@require_POST
def act(request: HttpRequest, job_id: UUID, verb: str) -> HttpResponseBase:
    """`cancel`, `stop` or `resume`, as the buttons say."""
    actor = page_actor(request)
    job = services.find_job(job_id, actor)
    match verb:
        case "cancel":
            services.cancel_job(job=job, actor=actor)
        case "stop":
            services.stop_job(job=job, actor=actor)
        case "resume":
            services.resume_job(job=job, actor=actor)
        case _:
            raise NotFoundError("There is no such page.")
    return HttpResponseRedirect(f"/jobs/{job_id}")
