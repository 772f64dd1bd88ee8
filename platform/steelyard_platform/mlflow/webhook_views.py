"""`webhooks/…`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.mlflow import webhooks as services
from steelyard_platform.mlflow.http import Asked, absolute, face, limit_of, millis, offset_of, token_for
from steelyard_platform.mlflow.models import WebhookNote

_PAGE, _LARGEST_PAGE = 100, 1000
_STATUSES = {"ACTIVE": False, "DISABLED": True}


def _record(note: WebhookNote) -> dict[str, Any]:
    parts = (event.partition(".") for event in note.events)
    return {
        "webhook_id": note.pk.hex,
        "name": note.name,
        "description": note.description,
        "url": note.webhook.url,
        "events": [{"entity": entity.upper(), "action": action.upper()} for entity, _, action in parts],
        "status": "DISABLED" if note.webhook.is_disabled else "ACTIVE",
        "creation_timestamp": millis(note.webhook.created_at),
        "last_updated_timestamp": millis(note.updated_at),
    }


def _events(asked: Asked) -> list[str]:
    return [f"{one.needed('entity')}.{one.needed('action')}".lower() for one in asked.items("events")]


@face("GET", "POST")
def webhooks(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:
    if request.method == "POST":
        made = services.create(
            name=asked.needed("name"),
            url=asked.needed("url"),
            events=_events(asked),
            description=asked.text("description"),
            secret=asked.text("secret") or None,
            origin=absolute(request, "/").rstrip("/"),
            actor=actor,
        )
        return {"webhook": _record(made)}
    limit, offset = limit_of(asked, default=_PAGE, most=_LARGEST_PAGE), offset_of(asked)
    found = list(services.notes_of(actor).order_by("webhook__created_at", "pk")[offset : offset + limit + 1])
    answer: dict[str, Any] = {"webhooks": [_record(one) for one in found[:limit]]}
    if len(found) > limit:
        answer["next_page_token"] = token_for(offset + limit)
    return answer


@face("GET", "PATCH", "DELETE")
def webhook(request: HttpRequest, actor: Actor, asked: Asked, webhook_id: str) -> dict[str, Any]:
    note = services.find_webhook(webhook_id, actor)
    match request.method:
        case "DELETE":
            services.delete(note=note, actor=actor)
            return {}
        case "PATCH":
            note = services.change(
                note=note,
                name=asked.text("name") if "name" in asked else None,
                url=asked.text("url") if "url" in asked else None,
                events=_events(asked) if asked.items("events") else None,
                description=asked.text("description") if "description" in asked else None,
                secret=asked.text("secret") or None,
                disabled=_disabled(asked),
                actor=actor,
            )
    return {"webhook": _record(note)}


def _disabled(asked: Asked) -> bool | None:
    if "status" not in asked:
        return None
    status = asked.text("status").upper()
    if status not in _STATUSES:
        raise InvalidInputError(f"{status!r} is no status of a webhook: ACTIVE or DISABLED.", parameter="status")
    return _STATUSES[status]
