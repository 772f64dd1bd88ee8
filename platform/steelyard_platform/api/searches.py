"""`/api/v1/searches`: asking for searches, watching, stopping, cancelling and resuming them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Status

from steelyard_contracts.searches import MoreTrials, SearchRequest, SearchState, SearchView, TrialState, TrialView
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.api.paging import Page
from steelyard_platform.jobs import searches
from steelyard_platform.jobs.search_models import Search, Trial
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of

router = Router(tags=["searches"])


@router.post("", response={201: SearchView})
def add_search(request: HttpRequest, body: SearchRequest) -> Status[SearchView]:
    """Begins a search. Its references are pinned to versions now, so that all trials train on the same data."""
    search = searches.request_search(spec=body.spec, actor=api_actor(request))
    return Status(201, searches.view_of(searches.again(search)))


@router.get("", response=Page[SearchView])
def list_searches(
    request: HttpRequest,
    team: str | None = None,
    state: SearchState | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """The searches of the caller's teams, newest first."""
    rows = searches.visible_searches(api_actor(request))
    if team is not None:
        rows = rows.filter(team__name__iexact=team)
    if state is not None:
        rows = rows.filter(state=state)
    items, following = page_of(rows, field="created_at", cursor=cursor, limit=limit)
    return {"items": searches.views_of(items), "next": following}


@router.get("/{uuid:search_id}", response=SearchView)
def get_search(request: HttpRequest, search_id: UUID) -> SearchView:
    return searches.view_of(_search(request, search_id))


@router.get("/{uuid:search_id}/trials", response=Page[TrialView])
def list_trials(
    request: HttpRequest,
    search_id: UUID,
    state: TrialState | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """The search's trials by their numbers, the first one first."""
    rows = Trial.objects.filter(search=_search(request, search_id))
    if state is not None:
        rows = rows.filter(state=state)
    items, following = page_of(rows, field="number", cursor=cursor, limit=limit, ascending=True)
    return {"items": [searches.trial_view(item) for item in items], "next": following}


@router.post("/{uuid:search_id}/stop", response=SearchView)
def stop_search(request: HttpRequest, search_id: UUID) -> SearchView:
    """No trial begins any more; those that run are let end, and the best version is kept."""
    found = searches.stop_search(search=_search(request, search_id), actor=api_actor(request))
    return searches.view_of(found)


@router.post("/{uuid:search_id}/cancel", response=SearchView)
def cancel_search(request: HttpRequest, search_id: UUID) -> SearchView:
    """Ends it now, with the trials that run; the output's branch stays as it is."""
    found = searches.cancel_search(search=_search(request, search_id), actor=api_actor(request))
    return searches.view_of(found)


@router.post("/{uuid:search_id}/resume", response=SearchView)
def resume_search(request: HttpRequest, search_id: UUID, body: MoreTrials) -> SearchView:
    """Goes on where it ended, with so many trials more."""
    found = searches.resume_search(search=_search(request, search_id), more=body, actor=api_actor(request))
    return searches.view_of(found)


def _search(request: HttpRequest, search_id: UUID) -> Search:
    return searches.find_search(search_id, api_actor(request))
