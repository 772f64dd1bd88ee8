"""Searches: the list, and one search live. Its trials are few enough to be sorted by anything, parameters included."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.searches import Choices, MoreTrials, SearchSpec, SearchState, TrialState
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs import searches
from steelyard_platform.jobs.search_models import Search, Trial
from steelyard_platform.pages.rendering import live_partial, page, signed_in
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.paging import page_of

_PAGE = 50
_PARAMETER = "params."
_COLUMNS = ("number", "state", "value")


@page
def listing(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    rows = searches.visible_searches(page_actor(request))
    found, following = page_of(rows, field="created_at", cursor=request.GET.get("cursor"), limit=_PAGE)
    return render(request, "searches/list.html", {"searches": searches.views_of(found), "following": following})


@page
def detail(request: HttpRequest, search_id: UUID) -> HttpResponseBase:
    actor = page_actor(request)
    search = searches.find_search(search_id, actor)
    repository = Repository.objects.select_related("team").filter(pk=search.repository).first()
    context = _status(request, search) | _actions(search, actor) | {"repository": repository}
    return render(request, "searches/detail.html", context)


@page
def status(request: HttpRequest, search_id: UUID) -> HttpResponseBase:
    """The part that is asked for again and again; with the buttons when the state is no longer the one that was seen.

    Buttons that came each time would be taken away from under a hand that is about to press one.
    """
    actor = page_actor(request)
    search = searches.find_search(search_id, actor)
    context = _status(request, search) | _actions(search, actor)
    context["has_new_state"] = request.GET.get("seen") != search.state
    return live_partial(request, "searches/status.html", context, is_final=bool(context["is_final"]))


@page
def trials_json(request: HttpRequest, search_id: UUID) -> HttpResponseBase:
    """What the charts are drawn of."""
    search = searches.find_search(search_id, page_actor(request))
    spec = searches.spec_of(search)
    rows = Trial.objects.filter(search=search).order_by("number").values("number", "state", "value", "params", "job")
    axes = [
        {"name": name, "log": getattr(one, "log", False), "choices": one.choices if isinstance(one, Choices) else None}
        for name, one in sorted(spec.space.items())
    ]
    answer = {"trials": list(rows), "axes": axes, "metric": spec.metric, "direction": spec.direction}
    return JsonResponse(answer | {"final": _is_over(search)})


@page
@require_POST
def act(request: HttpRequest, search_id: UUID, verb: str) -> HttpResponseBase:
    actor = page_actor(request)
    search = searches.find_search(search_id, actor)
    match verb:
        case "stop":
            searches.stop_search(search=search, actor=actor)
        case "cancel":
            searches.cancel_search(search=search, actor=actor)
        case "resume":
            more = request.POST.get("trials") or "0"
            if not more.isdecimal():
                raise InvalidInputError("Say how many trials more in digits.")
            searches.resume_search(search=search, more=MoreTrials(trials=int(more)), actor=actor)
        case _:
            raise InvalidInputError(f"A search is stopped, cancelled or resumed; {verb!r} is none of them.")
    return HttpResponseRedirect(f"/searches/{search_id}")


def _actions(search: Search, actor: Actor) -> dict[str, object]:
    return {"may_act": may(actor, Action.RUN_JOBS, search.team.resource)}


def _status(request: HttpRequest, search: Search) -> dict[str, object]:
    spec, sort = searches.spec_of(search), request.GET.get("sort", "-number")
    view = searches.view_of(search)
    rows = _sorted(list(Trial.objects.filter(search=search).defer("reports")), sort)
    number = int(text) if (text := request.GET.get("page", "1")).isdecimal() and 0 < int(text) < _PAGE else 1
    ended = sum(count for state, count in view.trials.items() if state is not TrialState.RUNNING)
    names = sorted(spec.space)
    return {
        "search": view,
        "is_final": _is_over(search),
        "share": ended / spec.limit,
        "columns": [_column(sort, key, label) for key, label in _headings(spec)],
        "rows": [
            (row, [row.params.get(name) for name in names]) for row in rows[_PAGE * (number - 1) : _PAGE * number]
        ],
        "sort": sort,
        "page": number,
        "query": urlencode({"sort": sort, "page": number, "seen": search.state}),
        "has_more": len(rows) > _PAGE * number,
    }


def _is_over(search: Search) -> bool:
    """Nothing on the page will change any more: its trials have ended too, and its best version is where it belongs."""
    running = Trial.objects.filter(search=search, state=TrialState.RUNNING)
    return SearchState(search.state).is_final and not search.is_due and not running.exists()


def _headings(spec: SearchSpec) -> list[tuple[str, str]]:
    varied = [(f"{_PARAMETER}{name}", name) for name in sorted(spec.space)]
    return [("number", "trial"), ("state", "state"), ("value", spec.metric), *varied]


def _column(sort: str, key: str, label: str) -> dict[str, object]:
    """A heading that sorts by its column, the other way round when it does so already."""
    return {
        "label": label,
        "sort": f"-{key}" if sort == key else key,
        "is_up": sort == key,
        "is_down": sort == f"-{key}",
    }


def _sorted(rows: list[Trial], sort: str) -> list[Trial]:
    """What has no value comes last, whichever way; an unknown column sorts nothing."""
    key = sort.removeprefix("-")

    def of(row: Trial) -> Any:
        return row.params.get(key.removeprefix(_PARAMETER)) if key.startswith(_PARAMETER) else getattr(row, key)

    if not key.startswith(_PARAMETER) and key not in _COLUMNS:
        key = "number"
    known = [row for row in rows if of(row) is not None]
    are_numbers = all(isinstance(of(row), int | float) for row in known)
    known.sort(key=lambda row: (of(row) if are_numbers else str(of(row)), row.number), reverse=sort.startswith("-"))
    return known + [row for row in rows if of(row) is None]
