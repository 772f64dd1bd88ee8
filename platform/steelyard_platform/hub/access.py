"""Requests for access to gated repositories, in the Hub's words."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.hub.http import date, hub_view, json_body, kind_of, page_response, text_field
from steelyard_platform.repos import admission
from steelyard_platform.repos.models import AccessRequest, AccessState
from steelyard_platform.repos.paging import page_of
from steelyard_platform.repos.queries import find_repository

_PAGE = 100


@hub_view("POST")
def ask(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    actor = api_actor(request)
    repository = find_repository(actor, kind_of(kind), f"{namespace}/{name}", Action.SEE)
    fields = json_body(request) if request.content_type == "application/json" else request.POST.dict()
    return JsonResponse(_record(admission.ask_for_access(repository=repository, actor=actor, fields=fields)))


@hub_view("POST")
def cancel(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    actor = api_actor(request)
    admission.withdraw(repository=find_repository(actor, kind, f"{namespace}/{name}", Action.SEE), actor=actor)
    return JsonResponse({})


@hub_view("GET")
def requests(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, state: str) -> HttpResponseBase:
    actor = api_actor(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}", Action.MANAGE)
    rows = admission.requests_of(repository, AccessState(state), actor)
    found, cursor = page_of(rows, field="created_at", cursor=request.GET.get("cursor"), limit=_PAGE)
    return page_response(request, [_record(row) for row in found], cursor)


@hub_view("POST")
def handle(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    actor, body = api_actor(request), json_body(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}", Action.MANAGE)
    username, number = str(body.get("user") or ""), str(body.get("requestId") or "")
    if not username and not number.isdecimal():
        raise InvalidInputError("Say whose request it is, with 'user' or 'requestId'.", field="user")
    if body.get("status") not in set(AccessState):
        raise InvalidInputError("The 'status' must be pending, accepted or rejected.", field="status")
    admission.decide(
        request=admission.request_named(repository, username=username, number=number),
        state=AccessState(body["status"]),
        reason=str(body.get("rejectionReason") or ""),
        actor=actor,
    )
    return JsonResponse({})


@hub_view("POST")
def grant(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    actor, username = api_actor(request), text_field(json_body(request), "user")
    repository = find_repository(actor, kind, f"{namespace}/{name}", Action.MANAGE)
    return JsonResponse(_record(admission.grant_access(repository=repository, username=username, actor=actor)))


def _record(row: AccessRequest) -> dict[str, Any]:
    user: dict[str, Any] = {"user": row.user.username, "fullname": row.user.get_full_name() or row.user.username}
    if row.was_asked_for:  # who asks says who they are; who was let in unasked has said nothing
        user["email"] = row.user.email or None
    return {
        "requestId": str(row.pk),
        "user": user,
        "status": row.state,
        "timestamp": date(row.created_at),
        "fields": row.fields or None,
    }
