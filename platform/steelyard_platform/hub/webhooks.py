"""A person's webhooks, in the Hub's words. A secret is told in the answer to the request that sets it, never again."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import AuthenticationError, InvalidInputError
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.hub.http import absolute, hub_view, json_body
from steelyard_platform.repos import webhooks as services
from steelyard_platform.repos.models import Webhook
from steelyard_platform.repos.webhooks import Wishes


@hub_view("GET", "POST")
def webhooks(request: HttpRequest) -> HttpResponseBase:
    actor = _person(request)
    if request.method == "GET":
        return JsonResponse([_record(row) for row in services.webhooks_of(actor)], safe=False)
    wishes = _wishes(json_body(request))
    made = services.create_webhook(wishes=wishes, origin=absolute(request, "/").rstrip("/"), actor=actor)
    return _answer(made, wishes.secret)


@hub_view("GET", "POST", "DELETE")
def webhook(request: HttpRequest, identifier: str) -> HttpResponseBase:
    actor = _person(request)
    found = services.webhook_named(actor, identifier)
    match request.method:
        case "DELETE":
            services.delete_webhook(webhook=found, actor=actor)
            return JsonResponse({})
        case "POST":
            wishes = _wishes(json_body(request))
            services.change_webhook(webhook=found, wishes=wishes, actor=actor)
            return _answer(services.webhook_named(actor, identifier), wishes.secret)
        case _:
            return _answer(found)


@hub_view("POST")
def switch(request: HttpRequest, identifier: str, disabled: bool) -> HttpResponseBase:  # noqa: FBT001 - from the address
    actor = _person(request)
    found = services.webhook_named(actor, identifier)
    services.switch_webhook(webhook=found, disabled=disabled, actor=actor)
    return _answer(found)


def _person(request: HttpRequest) -> Actor:
    actor = api_actor(request)
    if actor.is_anonymous:
        raise AuthenticationError("Invalid credentials in Authorization header")
    return actor


def _wishes(body: dict[str, Any]) -> Wishes:
    for name in ("jobSourceId", "jobId"):
        if body.get(name):
            raise InvalidInputError("A webhook calls a 'url' here; it starts no jobs.", field=name)
    watched, domains = body.get("watched"), body.get("domains")
    return Wishes(
        url=_text(body, "url"),
        watched=[_watch(one) for one in _list(watched, "watched")] if watched is not None else None,
        domains=[str(one) for one in _list(domains, "domains")] if domains is not None else None,
        secret=_text(body, "secret"),
    )


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInputError(f"The field {name!r} is not a text.", field=name)
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInputError(f"The field {name!r} is not a list.", field=name)
    return value


def _watch(record: Any) -> tuple[str, str]:
    if not isinstance(record, dict):
        raise InvalidInputError("Each thing watched is {'type': ..., 'name': ...}.", field="watched")
    return str(record.get("type")), str(record.get("name") or "")


def _answer(row: Webhook, secret: str | None = None) -> JsonResponse:
    return JsonResponse({"webhook": _record(row) | ({"secret": secret} if secret else {})})


def _record(row: Webhook) -> dict[str, Any]:
    return {
        "id": row.pk.hex,
        "url": row.url,
        "watched": [{"type": watch.kind, "name": watch.name} for watch in row.watches.all()],
        "domains": row.domains,
        "disabled": row.is_disabled,
    }
