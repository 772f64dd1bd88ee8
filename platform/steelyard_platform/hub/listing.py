"""Lists of repositories, filtered and sorted as the Hub's clients ask, in pages."""

from __future__ import annotations

from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.hub.http import expanded, flag, hub_view, page_response
from steelyard_platform.hub.records import only, repository_record
from steelyard_platform.repos.models import Gate, Repository
from steelyard_platform.repos.paging import page_of
from steelyard_platform.repos.queries import search, visible_repositories

_PAGE = 100
# What cannot be sorted by (likes and trends are not counted here) is sorted by the last change.
_SORTS = {"createdAt": "created_at", "created_at": "created_at", "downloads": "document__downloads"}
_DEFAULT_SORT = "updated_at"


@hub_view("GET")
def list_repositories(request: HttpRequest, kind: RepositoryKind) -> HttpResponseBase:
    rows = _filtered(request, visible_repositories(api_actor(request)).filter(kind=kind))
    field = _SORTS.get(request.GET.get("sort", ""), _DEFAULT_SORT)
    rows = rows.select_related("team", "document").annotate(sorted_by=F(field))
    found, cursor = page_of(rows, field="sorted_by", cursor=request.GET.get("cursor"), limit=_limit(request))
    wanted = expanded(request)
    return page_response(request, [only(repository_record(row), wanted) for row in found], cursor)


@hub_view("GET")
def tags_by_type(request: HttpRequest, kind: RepositoryKind) -> HttpResponseBase:  # noqa: ARG001 - Django's signature
    return JsonResponse({})


def _filtered(request: HttpRequest, rows: QuerySet[Repository]) -> QuerySet[Repository]:
    for text in request.GET.getlist("search"):
        rows = search(rows, text)
    if author := request.GET.get("author"):
        rows = rows.filter(team__name__iexact=author)
    wanted = request.GET.getlist("filter") + [request.GET[name] for name in ("pipeline_tag",) if name in request.GET]
    for tag in wanted:
        # A language stands in a card's tags by itself; clients that list datasets ask for `language:en`.
        rows = rows.filter(card_tags__tag__in={tag, tag.removeprefix("language:")})
    if "gated" in request.GET:
        rows = rows.exclude(gate=Gate.NONE) if flag(request, "gated") else rows.filter(gate=Gate.NONE)
    return rows


def _limit(request: HttpRequest) -> int:
    text = request.GET.get("limit", str(_PAGE))
    if not text.isdigit():
        raise InvalidInputError(f"The limit must be a number, not {text!r}.", field="limit")
    return int(text)
