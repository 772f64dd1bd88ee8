"""`/api/v1/runs`: trainings that were done elsewhere start, report and end here."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from steelyard_contracts.errors import AuthenticationError
from steelyard_contracts.jobs import JobState, JobView
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.tracking import (
    RunAnswer,
    RunFinish,
    RunLines,
    RunPoints,
    RunRequest,
    RunResume,
    RunUpdate,
    SavedVersion,
)
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.api.lookups import version_in
from steelyard_platform.api.paging import Page
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.finding import Wanted, find_jobs
from steelyard_platform.jobs.run_facts import RUN
from steelyard_platform.jobs.samples import LARGEST
from steelyard_platform.jobs.services import view_of
from steelyard_platform.repos.paging import DEFAULT_LIMIT
from steelyard_platform.repos.queries import find_repository

router = Router(tags=["runs"])
_PICTURE = {
    "requestBody": {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}, "required": True}
}


@router.post("", response={201: JobView})
def start_run(request: HttpRequest, body: RunRequest) -> Status[JobView]:
    """A run of the project, which is made if need be. A key that was said before gets the same run again."""
    return Status(201, view_of(tracking.start_run(request=body, actor=_known(request))))


@router.get("", response=Page[JobView])
def list_runs(
    request: HttpRequest,
    project: str = "",
    team: str = "",
    state: JobState | None = None,
    text: Annotated[str, Query(max_length=200)] = "",
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """The runs of a project, or of the caller's teams, newest first; `text`: words of a name or a configuration."""
    actor = api_actor(request)
    of = None
    if project:
        of = find_repository(actor, RepositoryKind.MODEL, parse_ref(project).repository, Action.SEE).pk
    wanted = Wanted(team=team, kind=RUN, state=state or "", text=text, repository=of)
    items, following = find_jobs(actor, wanted, cursor=cursor, limit=limit)
    return {"items": [view_of(item) for item in items], "next": following}


@router.get("/{uuid:run_id}", response=JobView)
def get_run(request: HttpRequest, run_id: UUID) -> JobView:
    return view_of(tracking.find_run(run_id, api_actor(request)))


@router.patch("/{uuid:run_id}", response=JobView)
def update_run(request: HttpRequest, run_id: UUID, body: RunUpdate) -> JobView:
    """Of `config` and `tags`, the keys that are named; a tag that is null goes."""
    actor = _known(request)
    run = tracking.find_run(run_id, actor)
    return view_of(tracking.update_run(run=run, actor=actor, **dict(body)))


@router.post("/{uuid:run_id}/points", response=RunAnswer)
def add_points(request: HttpRequest, run_id: UUID, body: RunPoints) -> RunAnswer:
    """Values of series at steps. Sending a point twice is the same as once; no points at all are a sign of life."""
    actor = _known(request)
    return tracking.write_points(run=tracking.find_run(run_id, actor), points=body.points, actor=actor)


@router.post("/{uuid:run_id}/lines", response=RunAnswer)
def add_lines(request: HttpRequest, run_id: UUID, body: RunLines) -> RunAnswer:
    """Lines of output. Sending a line twice is the same as once."""
    actor = _known(request)
    run = tracking.find_run(run_id, actor)
    return tracking.write_lines(run=run, lines=body.lines, attempt=body.attempt, actor=actor)


@router.post("/{uuid:run_id}/samples", response=RunAnswer, openapi_extra=_PICTURE)
def add_sample(request: HttpRequest, run_id: UUID, name: str, step: Annotated[int, Query(ge=0, lt=2**62)]) -> RunAnswer:
    """Keeps the PNG in the body for `name` at `step`. They are read at `/jobs/{id}/samples`."""
    actor = _known(request)
    run, png = tracking.find_run(run_id, actor), request.read(LARGEST + 1)
    return tracking.write_sample(run=run, name=name, step=step, png=png, actor=actor)


@router.post("/{uuid:run_id}/versions", response=JobView)
def save_version(request: HttpRequest, run_id: UUID, body: SavedVersion) -> JobView:
    """Notes that a version of the project is the run's; its lineage leads to what the run was given."""
    actor = _known(request)
    run = tracking.find_run(run_id, actor)
    home = run.run.project
    if body.model is not None:
        home = find_repository(actor, RepositoryKind.MODEL, body.model, Action.WRITE)
    if home is not None:
        version = version_in(home, body.version)
        tracking.save_version(run=run, version=version, actor=actor, is_elsewhere=body.model is not None)
    return view_of(tracking.find_run(run_id, actor))


@router.post("/{uuid:run_id}/finish", response=JobView)
def finish_run(request: HttpRequest, run_id: UUID, body: RunFinish) -> JobView:
    """Ends the run. The first end counts."""
    actor = _known(request)
    run = tracking.find_run(run_id, actor)
    return view_of(tracking.finish_run(run=run, actor=actor, **dict(body)))


@router.post("/{uuid:run_id}/resume", response=JobView)
def resume_run(request: HttpRequest, run_id: UUID, body: RunResume) -> JobView:
    """The run goes on under its id, as a new attempt, also after its end."""
    actor = _known(request)
    run = tracking.find_run(run_id, actor)
    host = body.environment.get("host", "")[:200]
    return view_of(tracking.resume_run(run=run, key=body.key, host=host, actor=actor))


def _known(request: HttpRequest) -> Actor:
    """Raises: AuthenticationError for nobody: a program whose token is missing should hear that, and not 404."""
    actor = api_actor(request)
    if actor.is_anonymous:
        raise AuthenticationError("Send a token to report to a run.")
    return actor
