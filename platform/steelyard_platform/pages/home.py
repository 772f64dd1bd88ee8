"""The first page, and lists of repositories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import render

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.models import Team
from steelyard_platform.jobs.run_facts import WITH_RUN
from steelyard_platform.jobs.services import asked_for
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import version_counts, visible_repositories
from steelyard_platform.weights.search import count, find
from steelyard_platform.weights.search_syntax import Sort, parse_search

_SHOWN = 8
_PAGE = 50
_ORDERS = (
    (Sort.UPDATED, "Last changed"),
    (Sort.CREATED, "Newest"),
    (Sort.NAME, "By name"),
    (Sort.SIZE, "Largest"),
    (Sort.DOWNLOADS, "Most downloaded"),
    (Sort.METRIC, "Best measure"),
)
_CONDITIONS = ("tag", "task", "library", "framework", "license", "language", "dataset", "base_model")


@page
def home(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    actor = page_actor(request)
    visible = visible_repositories(actor).order_by("-updated_at")
    teams = Team.objects.filter(pk__in=list(actor.roles)).order_by("name")
    context = {
        "models": _counted(visible.filter(kind=RepositoryKind.MODEL)[:_SHOWN]),
        "datasets": _counted(visible.filter(kind=RepositoryKind.DATASET)[:_SHOWN]),
        "jobs": asked_for().filter(team__in=teams).select_related(*WITH_RUN).order_by("-created_at")[:_SHOWN],
        "teams": teams,
    }
    return render(request, "home.html", context)


@page
def listing(request: HttpRequest, kind: str) -> HttpResponseBase:
    """`/models` and `/datasets`: one box, the same conditions apart for those who do not know its words, and pages."""
    asked, actor = request.GET, page_actor(request)
    context: dict[str, Any] = {"kind": kind, "asked": asked.dict(), "orders": _ORDERS, "hits": []}
    try:
        search = parse_search(
            asked.get("q", ""),
            tags=[(key, value) for key in _CONDITIONS for value in asked.getlist(key)],
            bounds=[*(f"size{bound}" for bound in asked.getlist("size") if bound.strip()), *asked.getlist("metric")],
            sort=_sort(asked.get("sort", "")),
        )
        hits, following = find(actor, RepositoryKind(kind), search, cursor=asked.get("cursor"), limit=_PAGE)
    except InvalidInputError as error:
        return render(request, "repositories.html", context | {"fault": str(error)}, status=error.status)
    number, more = count(actor, RepositoryKind(kind), search)
    versions = version_counts(hit.repository for hit in hits)
    found = [(hit, versions.get(hit.repository.pk, 0)) for hit in hits]
    context |= {"hits": found, "following": _continued(asked, following), "number": number, "is_more": more}
    return render(request, "repositories.html", context)


def _counted(repositories: Iterable[Repository]) -> list[tuple[Repository, int]]:
    """Each with how many versions it has."""
    found = list(repositories)
    versions = version_counts(found)
    return [(one, versions.get(one.pk, 0)) for one in found]


def _sort(text: str) -> Sort:
    """What an address names that is none is the usual order."""
    return Sort(text) if text in set(Sort) else Sort.UPDATED


def _continued(asked: QueryDict, cursor: str | None) -> str | None:
    """The address of the next page: the same question, further on."""
    if cursor is None:
        return None
    following = asked.copy()
    following["cursor"] = cursor
    return following.urlencode()
