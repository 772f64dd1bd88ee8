"""`/workers`: the machines that do the jobs, live; and each team's tokens for them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.workers import WorkerTokenRequest
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.accounts.services import team_named
from steelyard_platform.jobs import worker_tokens, workers
from steelyard_platform.pages.rendering import page, signed_in

_SHOWN = 200
_LONGEST_NAME = 100


@page
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    return _show(request)


@page
def live(request: HttpRequest) -> HttpResponseBase:
    """The table, which the page asks for again and again."""
    signed_in(request)
    return render(request, "workers/table.html", _table(page_actor(request)))


@page
@require_POST
def change(request: HttpRequest, worker_id: UUID, verb: str) -> HttpResponseBase:
    """`drain`, `undrain` or `forget`."""
    actor = page_actor(request)
    signed_in(request)
    worker = workers.find_worker(worker_id, actor)
    match verb:
        case "drain" | "undrain":
            workers.set_draining(worker=worker, is_draining=verb == "drain", actor=actor)
        case "forget":
            workers.forget_worker(worker=worker, actor=actor)
        case _:
            raise NotFoundError("There is no such page.")
    return HttpResponseRedirect("/workers")


@page
@require_POST
def make_token(request: HttpRequest, team: str) -> HttpResponseBase:
    """The page again, with the new token's secret this once."""
    signed_in(request)
    name = request.POST.get("name", "").strip()[:_LONGEST_NAME] or "worker"
    days = request.POST.get("days", "")
    asked = WorkerTokenRequest(name=" ".join(name.split()), days=min(int(days), 3650) if _counts(days) else None)
    _, secret = worker_tokens.issue_worker_token(team=team_named(team), request=asked, actor=page_actor(request))
    return _show(request, secret=secret)


@page
@require_POST
def revoke_token(request: HttpRequest, team: str, token_id: int) -> HttpResponseBase:
    signed_in(request)
    worker_tokens.revoke_worker_token(team=team_named(team), token_id=token_id, actor=page_actor(request))
    return HttpResponseRedirect("/workers")


def _counts(days: str) -> bool:
    return days.isascii() and days.isdigit() and int(days) > 0


def _show(request: HttpRequest, *, secret: str | None = None) -> HttpResponseBase:
    actor = page_actor(request)
    address = f"{request.scheme}://{request.get_host()}"
    context = _table(actor) | {"teams": _administered(actor), "secret": secret, "address": address}
    return render(request, "workers/list.html", context)


def _table(actor: Actor) -> dict[str, Any]:
    found = list(workers.visible_workers(actor).order_by("stopped_at", "name")[:_SHOWN])
    rows = [
        {"view": view, "may_change": workers.may_look_after(actor, worker), "is_draining": worker.is_draining}
        for view, worker in zip(workers.views_of(found, actor), found, strict=True)
    ]
    return {"rows": rows}


def _administered(actor: Actor) -> list[dict[str, Any]]:
    """The teams whose tokens the reader makes, with those there are."""
    mine = Team.objects.filter(pk__in=list(actor.roles)).order_by("name")[:_SHOWN]
    teams = [team for team in mine if may(actor, Action.ADMINISTER, team.resource)]
    tokens = worker_tokens.tokens_of(teams, actor)
    return [{"team": team, "tokens": tokens[team.pk]} for team in teams]
