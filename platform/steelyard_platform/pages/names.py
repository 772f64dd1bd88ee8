"""What a repository's versions are called, who moved which name when, and the rules that guard the names."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.pages.rendering import page
from steelyard_platform.pages.repositories import repository_context
from steelyard_platform.repos import services
from steelyard_platform.repos.models import Alias, AliasMove, Repository, Tag
from steelyard_platform.repos.paging import page_of, whole_number
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.weights.models import GateRule
from steelyard_platform.weights.services import add_gate, remove_gate

_PAGE = 50
_TAGS = 200


@page
def names(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """`?alias=production` shows the history of one."""
    repository, actor = _find(request, kind, namespace, name), page_actor(request)
    alias = request.GET.get("alias", "")
    moves = AliasMove.objects.filter(repository=repository, **({"alias": alias} if alias else {}))
    moves = moves.select_related("from_version", "to_version", "promotion")
    found, following = page_of(moves, field="at", cursor=request.GET.get("cursor"), limit=_PAGE)
    context = repository_context(request, repository, "names") | {
        "aliases": Alias.objects.filter(repository=repository).select_related("version").order_by("name"),
        "tags": Tag.objects.filter(repository=repository).select_related("version").order_by("-pk")[:_TAGS],
        "gates": GateRule.objects.filter(repository=repository).order_by("pk"),
        "moves": found,
        "following": following,
        "alias": alias,
        "may_write": may(actor, Action.WRITE, repository.resource),
        "may_manage": may(actor, Action.MANAGE, repository.resource),
    }
    return render(request, "repository/names.html", context)


@page
@require_POST
def change_alias(request: HttpRequest, kind: str, namespace: str, name: str, verb: str) -> HttpResponseBase:
    """`protect`, `unprotect` or `delete`, for the alias that the form names."""
    repository, actor = _find(request, kind, namespace, name), page_actor(request)
    alias = request.POST.get("alias", "")
    match verb:
        case "protect" | "unprotect":
            services.protect_alias(repository=repository, name=alias, protected=verb == "protect", actor=actor)
        case "delete":
            reason = request.POST.get("reason", "").strip()
            services.delete_alias(repository=repository, name=alias, reason=reason, actor=actor)
        case _:
            raise NotFoundError("There is no such page.")
    return HttpResponseRedirect(f"{repository.page}/names")


@page
@require_POST
def change_gates(request: HttpRequest, kind: str, namespace: str, name: str, verb: str) -> HttpResponseBase:
    """`add` or `remove` a rule."""
    repository, actor = _find(request, kind, namespace, name), page_actor(request)
    match verb:
        case "add":
            applies_to = request.POST.get("applies_to", "").strip() or GateRule.ANY
            add_gate(repository=repository, text=request.POST.get("rule", ""), applies_to=applies_to, actor=actor)
        case "remove":
            if (gate := whole_number(request.POST.get("gate", ""))) is None:
                raise NotFoundError(f"{repository.full_name} has no such gate.")
            remove_gate(repository=repository, gate=gate, actor=actor)
        case _:
            raise NotFoundError("There is no such page.")
    return HttpResponseRedirect(f"{repository.page}/names")


def _find(request: HttpRequest, kind: str, namespace: str, name: str) -> Repository:
    return find_repository(page_actor(request), RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)
