"""Who may read a gated repository: asking for it, and deciding on those who asked."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.pages.repositories import repository_context
from steelyard_platform.repos import admission
from steelyard_platform.repos.models import AccessRequest, AccessState
from steelyard_platform.repos.queries import find_repository

_SHOWN = 200


@page
def access(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    signed_in(request)
    actor = page_actor(request)
    repository = find_repository(actor, RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)
    asked = AccessRequest.objects.filter(repository=repository)
    context = repository_context(request, repository, "access") | {"mine": asked.filter(user=actor.user_id).first()}
    if may(actor, Action.MANAGE, repository.resource):
        context["requests"] = asked.select_related("user").order_by("-created_at")[:_SHOWN]
    return render(request, "repository/access.html", context)


@page
@require_POST
def ask(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    signed_in(request)
    actor = page_actor(request)
    repository = find_repository(actor, RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)
    reason = request.POST.get("reason", "").strip()
    admission.ask_for_access(repository=repository, actor=actor, fields={"reason": reason} if reason else {})
    return HttpResponseRedirect(f"{repository.page}/access")


@page
@require_POST
def decide(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    signed_in(request)
    actor, state = page_actor(request), request.POST.get("state", "")
    repository = find_repository(actor, RepositoryKind(kind), f"{namespace}/{name}", Action.MANAGE)
    if state not in set(AccessState):
        raise InvalidInputError("A request is pending, accepted or rejected.")
    found = admission.request_named(repository, username=request.POST.get("user", ""))
    admission.decide(request=found, state=AccessState(state), actor=actor)
    return HttpResponseRedirect(f"{repository.page}/access")
