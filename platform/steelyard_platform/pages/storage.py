"""What is stored: of the installation, a namespace, a repository."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.accounts.services import team_named
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.pages.repositories import repository_context
from steelyard_platform.repos.expiry import rule_of
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import find_repository, visible_repositories
from steelyard_platform.repos.trash import held_by_trash, visible_trash
from steelyard_platform.repos.usage import usage_by_repository, usage_by_team, usage_of
from steelyard_platform.storage.transfers import recent_transfers

Row = TypeVar("Row", Team, Repository)
_PAGE = 50
_LAST_PAGE = 100_000


@page
def everything(request: HttpRequest) -> HttpResponseBase:
    """`/storage`: each namespace of which the reader may read something."""
    signed_in(request)
    actor = page_actor(request)
    visible = visible_repositories(actor)
    teams = Team.objects.filter(pk__in=visible.values("team")).order_by("name")
    rows, more = _page_of(teams, request)
    context = {
        "title": "Storage",
        "used": usage_of(visible),
        "trashed": held_by_trash(visible_trash(actor)),
        "rows": [(team.name, f"/storage/{team.name}", used) for team, used in usage_by_team(rows, visible)],
        "following": more,
        "transfers": recent_transfers(actor.roles),
    }
    return render(request, "storage.html", context)


@page
def namespace(request: HttpRequest, team: str) -> HttpResponseBase:
    """`/storage/team`: each of its repositories that the reader may read."""
    signed_in(request)
    actor = page_actor(request)
    found = team_named(team)
    visible = visible_repositories(actor).filter(team=found)
    rows, more = _page_of(visible.order_by("name", "kind"), request)
    context = {
        "title": found.name,
        "used": usage_of(visible),
        "trashed": held_by_trash(visible_trash(actor).filter(team=found)),
        "rows": [(f"{one.kind} {one.name}", f"{one.page}/storage", used) for one, used in usage_by_repository(rows)],
        "following": more,
        "transfers": recent_transfers({found.pk} & set(actor.roles)),
    }
    return render(request, "storage.html", context)


@page
def repository(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    actor = page_actor(request)
    found = find_repository(actor, RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)
    context = repository_context(request, found, "storage") | {
        "used": usage_of(Repository.objects.filter(pk=found.pk)),
        "trashed": held_by_trash(visible_trash(actor).filter(trash_of=found)),
        "may_manage": may(actor, Action.MANAGE, found.resource),
        "expiry": rule_of(found),
    }
    return render(request, "repository/storage.html", context)


def _page_of(rows: QuerySet[Row], request: HttpRequest) -> tuple[QuerySet[Row], int | None]:
    """The asked-for page of the rows, and the next one's number if there is one."""
    asked = request.GET.get("page", "")
    number = min(int(asked), _LAST_PAGE) if asked.isdecimal() else 0
    start = number * _PAGE
    keys = list(rows.values_list("pk", flat=True)[start : start + _PAGE + 1])
    return rows.filter(pk__in=keys[:_PAGE]), number + 1 if len(keys) > _PAGE else None
