"""Requests for promotion: the list, one of them, and what may be done about it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.promotions import PromotionState
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.pages.rendering import page
from steelyard_platform.pages.repositories import repository_context
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.paging import page_of
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights import promotions as services
from steelyard_platform.weights.approvals import names_of
from steelyard_platform.weights.models import GateRule, Promotion

_PAGE = 50
_EVENTS = 500


@page
def listing(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """Those that are open, or `?state=` all others."""
    repository = _repository(request, kind, namespace, name)
    state = request.GET.get("state", PromotionState.OPEN)
    rows = services.promotions_of(repository)
    rows = rows.filter(state=state) if state in set(PromotionState) else rows
    found, following = page_of(rows, field="created_at", cursor=request.GET.get("cursor"), limit=_PAGE)
    named = names_of(repository)
    context = repository_context(request, repository, "promotions") | {
        "rows": [(promotion, named.get(promotion.target)) for promotion in found],
        "following": following,
        "state": state,
        "states": [*PromotionState],
    }
    return render(request, "repository/promotions.html", context)


@page
def detail(request: HttpRequest, kind: str, namespace: str, name: str, number: int) -> HttpResponseBase:
    repository, actor = _repository(request, kind, namespace, name), page_actor(request)
    promotion = services.promotion_numbered(repository, number)
    standing = services.standing_of(promotion)
    events = promotion.events.order_by("at", "pk")[:_EVENTS]
    context = repository_context(request, repository, "promotions") | {
        "promotion": promotion,
        "standing": standing,
        "events": [(event, event.pk in standing.counting) for event in events],
        "passes": all(verdict.passed for verdict in standing.verdicts),
        "is_release": promotion.target == GateRule.RELEASE,
        "may": _rights(actor, promotion),
    }
    return render(request, "repository/promotion.html", context)


@page
@require_POST
def ask(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    repository = _repository(request, kind, namespace, name)
    version = resolve(repository, request.POST.get("revision", "")).version
    if version is None:
        raise NotFoundError(f"{repository.full_name} is empty.")
    version.repository = repository
    target, words = request.POST.get("target", "").strip(), request.POST.get("words", "")
    made = services.request_promotion(version=version, target=target, words=words, actor=page_actor(request))
    return HttpResponseRedirect(f"{repository.page}/promotions/{made.number}")


@page
@require_POST
def act(request: HttpRequest, kind: str, namespace: str, name: str, number: int, verb: str) -> HttpResponseBase:
    """`comment`, `approve`, `reject`, `withdraw`, `change` or `carry-out`."""
    repository, actor = _repository(request, kind, namespace, name), page_actor(request)
    promotion = services.promotion_numbered(repository, number)
    words = request.POST.get("words", "")
    match verb:
        case "comment":
            services.comment_on(promotion=promotion, words=words, actor=actor)
        case "approve":
            services.approve(promotion=promotion, seen=request.POST.get("seen", ""), words=words, actor=actor)
        case "reject":
            services.reject(promotion=promotion, words=words, actor=actor)
        case "withdraw":
            services.withdraw(promotion=promotion, words=words, actor=actor)
        case "change":
            version = resolve(repository, request.POST.get("revision", "")).version
            services.change_promotion(promotion=promotion, version=version, target=None, words=words, actor=actor)
        case "carry-out":
            override = request.POST.get("override") == "on"
            services.carry_out(promotion=promotion, reason=words, override=override, actor=actor)
        case _:
            raise NotFoundError("There is no such page.")
    return HttpResponseRedirect(f"{repository.page}/promotions/{number}")


def _rights(actor: Actor, promotion: Promotion) -> dict[str, bool]:
    """Which buttons the page shows; the services decide again."""
    resource = promotion.repository.resource
    is_open, is_own = promotion.state == PromotionState.OPEN, promotion.requester_id == actor.user_id
    maintains = may(actor, Action.MANAGE, resource)
    return {
        "comment": is_open and (resource.team_id in actor.roles or maintains),
        "decide": is_open and maintains,
        "approve": is_open and maintains and not is_own and promotion.version is not None,
        "change": is_open and is_own,
        "carry_out": is_open
        and promotion.target != GateRule.RELEASE
        and promotion.version is not None
        and may(actor, Action.WRITE, resource),
        "override": is_open and maintains,
    }


def _repository(request: HttpRequest, kind: str, namespace: str, name: str) -> Repository:
    return find_repository(page_actor(request), RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)
