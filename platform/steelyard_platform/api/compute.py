"""`/api/v1/workers`: the machines that do the jobs, for those machines and for the people who look after them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Status

from steelyard_contracts.workers import (
    Beat,
    IssuedWorkerToken,
    NextJob,
    NextJobRequest,
    Registration,
    WorkerPlace,
    WorkerTokenRequest,
    WorkerTokenView,
    WorkerView,
)
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action, demand
from steelyard_platform.accounts.services import team_named
from steelyard_platform.api.paging import Page
from steelyard_platform.jobs import waiting, worker_tokens, workers
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of

router = Router(tags=["workers"])


@router.post("/workers", response={201: WorkerPlace})
def register(request: HttpRequest, body: Registration) -> Status[WorkerPlace]:
    """A worker begins, with a worker's token, and says what it has."""
    return Status(201, workers.register_worker(registration=body, actor=api_actor(request)))


@router.post("/workers/{uuid:worker_id}/beat", response=NextJob)
def beat(request: HttpRequest, worker_id: UUID, body: Beat) -> NextJob:
    """A sign of life; the answer names a job that waits for a worker like it, if it is idle."""
    return workers.beat(worker_id=worker_id, actor=api_actor(request), sign=body)


@router.post("/workers/{uuid:worker_id}/next-job", response=NextJob)
def next_job(request: HttpRequest, worker_id: UUID, body: NextJobRequest) -> NextJob:
    """The job that waits longest of those that fit; the worker claims it as it would one that it was rung for."""
    return waiting.next_job(worker_id=worker_id, request=body, actor=api_actor(request))


@router.post("/workers/{uuid:worker_id}/stopped", response={204: None})
def stopped(request: HttpRequest, worker_id: UUID) -> Status[None]:
    """A worker says goodbye."""
    workers.leave(worker_id=worker_id, actor=api_actor(request))
    return Status(204, None)


@router.get("/workers", response=Page[WorkerView])
def list_workers(
    request: HttpRequest, team: str | None = None, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    """The workers of the caller's teams, and those that work for everybody; the last one that began comes first."""
    actor = api_actor(request)
    rows = workers.visible_workers(actor)
    if team is not None:
        found = team_named(team)
        demand(actor, Action.READ, found.resource)
        rows = rows.filter(team=found)
    items, following = page_of(rows, field="first_seen_at", cursor=cursor, limit=limit)
    return {"items": workers.views_of(items, actor), "next": following}


@router.get("/workers/{uuid:worker_id}", response=WorkerView)
def get_worker(request: HttpRequest, worker_id: UUID) -> WorkerView:
    actor = api_actor(request)
    return workers.views_of([workers.find_worker(worker_id, actor)], actor)[0]


@router.post("/workers/{uuid:worker_id}/drain", response=WorkerView)
def drain(request: HttpRequest, worker_id: UUID) -> WorkerView:
    """It ends the job that it is at, and takes no other until it is told to."""
    return _set_draining(request, worker_id, is_draining=True)


@router.post("/workers/{uuid:worker_id}/undrain", response=WorkerView)
def undrain(request: HttpRequest, worker_id: UUID) -> WorkerView:
    """It takes jobs again."""
    return _set_draining(request, worker_id, is_draining=False)


@router.delete("/workers/{uuid:worker_id}", response={204: None})
def forget(request: HttpRequest, worker_id: UUID) -> Status[None]:
    """Takes a worker that is silent or has stopped off the list."""
    actor = api_actor(request)
    workers.forget_worker(worker=workers.find_worker(worker_id, actor), actor=actor)
    return Status(204, None)


@router.post("/teams/{team}/worker-tokens", response={201: IssuedWorkerToken})
def add_token(request: HttpRequest, team: str, body: WorkerTokenRequest) -> Status[IssuedWorkerToken]:
    """A token that does the team's jobs and opens nothing else. For the team's administrators."""
    token, secret = worker_tokens.issue_worker_token(team=team_named(team), request=body, actor=api_actor(request))
    return Status(201, IssuedWorkerToken(token=secret, view=worker_tokens.token_view(token)))


@router.get("/teams/{team}/worker-tokens", response=Page[WorkerTokenView])
def list_tokens(
    request: HttpRequest, team: str, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    rows = worker_tokens.worker_tokens(team_named(team), api_actor(request))
    items, following = page_of(rows, field="created_at", cursor=cursor, limit=limit)
    return {"items": [worker_tokens.token_view(item) for item in items], "next": following}


@router.delete("/teams/{team}/worker-tokens/{int:token_id}", response={204: None})
def delete_token(request: HttpRequest, team: str, token_id: int) -> Status[None]:
    """Its workers lose at once what they are at."""
    worker_tokens.revoke_worker_token(team=team_named(team), token_id=token_id, actor=api_actor(request))
    return Status(204, None)


def _set_draining(request: HttpRequest, worker_id: UUID, *, is_draining: bool) -> WorkerView:
    actor = api_actor(request)
    worker = workers.find_worker(worker_id, actor)
    workers.set_draining(worker=worker, is_draining=is_draining, actor=actor)
    return workers.views_of([worker], actor)[0]
