"""Webhooks of MLflow's clients: ours, told in MLflow's words.

    {"entity": "model_version", "action": "created", "timestamp": …, "data": {"name": …, "version": "3", …}}

They watch the own team. What happens there comes by `repos.webhooks`, whoever did it and however, and is translated
when it is delivered; tags of versions are MLflow's alone, and are told from here. Signed as MLflow signs: an
HMAC-SHA256 by the secret, of the delivery's id, its time and its body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.mlflow.models import WebhookNote
from steelyard_platform.mlflow.names import name_for, own_team
from steelyard_platform.mlflow.registry import note_of
from steelyard_platform.mlflow.version_records import address_of
from steelyard_platform.repos import webhooks as ours
from steelyard_platform.repos.deliveries import Letter
from steelyard_platform.repos.models import Repository, Version, WebhookDelivery
from steelyard_platform.repos.webhooks import Event, Wishes, unsealed, watching

CREATED = "registered_model.created"
EVENTS = frozenset(
    {
        CREATED, "model_version.created", "model_version_tag.set", "model_version_tag.deleted",
        "model_version_alias.created", "model_version_alias.deleted",
    }
)  # fmt: skip
_NOTHING = Letter(b"", {})
_OWN = "mlflow"  # the key of a payload that was written from here
_ALIAS, _MAIN = "refs/aliases/", "refs/heads/"


def notes_of(actor: Actor) -> QuerySet[WebhookNote]:
    """Raises: ForbiddenError for whoever is no person."""
    return WebhookNote.objects.filter(webhook__in=ours.webhooks_of(actor).order_by()).select_related("webhook")


def find_webhook(webhook_id: str, actor: Actor) -> WebhookNote:
    """Raises: NotFoundError, also for another one's."""
    try:
        found = notes_of(actor).filter(pk=uuid.UUID(webhook_id)).first()
    except ValueError:
        found = None
    if found is None:
        raise NotFoundError(f"Webhook with ID {webhook_id} not found.", webhook=webhook_id)
    return found


@transaction.atomic
def create(
    *, name: str, url: str, events: list[str], description: str, secret: str | None, origin: str, actor: Actor
) -> WebhookNote:
    """Raises: InvalidInputError, ForbiddenError, ConflictError for one too many."""
    team = own_team(actor)
    kind = "user" if team.is_personal else "org"
    wishes = Wishes(url=_checked_url(url), watched=[(kind, team.name)], domains=["repo"], secret=secret)
    webhook = ours.create_webhook(wishes=wishes, origin=origin, actor=actor)
    return WebhookNote.objects.create(
        webhook=webhook, name=_checked_name(name), description=description, events=_checked(events)
    )


@transaction.atomic
def change(
    *,
    note: WebhookNote,
    actor: Actor,
    name: str | None = None,
    url: str | None = None,
    events: list[str] | None = None,
    description: str | None = None,
    secret: str | None = None,
    disabled: bool | None = None,
) -> WebhookNote:
    """What is named changes. Raises: InvalidInputError, ForbiddenError."""
    if url is not None or secret is not None:
        wishes = Wishes(url=None if url is None else _checked_url(url), secret=secret)
        ours.change_webhook(webhook=note.webhook, wishes=wishes, actor=actor)
    if disabled is not None:
        ours.switch_webhook(webhook=note.webhook, disabled=disabled, actor=actor)
    note.name = note.name if name is None else _checked_name(name)
    note.description = note.description if description is None else description
    note.events = note.events if events is None else _checked(events)
    note.updated_at = timezone.now()
    note.save()
    return note


def delete(*, note: WebhookNote, actor: Actor) -> None:
    """Raises: ForbiddenError."""
    ours.delete_webhook(webhook=note.webhook, actor=actor)


def tell(repository: Repository, event: str, data: dict[str, Any]) -> None:
    """Of what is MLflow's alone, such as a version's tag: in the transaction of what happened."""
    webhooks = watching(repository, Event("update", "repo.config")).filter(mlflow_note__isnull=False)
    hooks = [hook for hook in webhooks.select_related("mlflow_note") if event in hook.mlflow_note.events]
    if hooks:
        name = _name_of(repository)
        payload = {_OWN: {"event": event, "data": {"name": name, **data}}}
        WebhookDelivery.objects.bulk_create(WebhookDelivery(webhook=hook, payload=payload) for hook in hooks)


def letter_for(delivery: WebhookDelivery) -> Letter | None:
    """None for a webhook that MLflow's client has not made; an empty letter for an event that it did not ask for."""
    note = WebhookNote.objects.filter(pk=delivery.webhook_id).first()
    if note is None:
        return None
    event, data = _told(delivery.payload)
    if event not in note.events or data is None:
        return _NOTHING
    entity, _, action = event.partition(".")
    at = delivery.created_at.isoformat()
    body = json.dumps({"entity": entity, "action": action, "timestamp": at, "data": data})
    return Letter(body.encode(), _headers(unsealed(delivery.webhook), body))


def _headers(secret: str | None, body: str) -> dict[str, str]:
    key, now = str(uuid.uuid4()), str(int(time.time()))
    headers = {"X-MLflow-Delivery-Id": key, "X-MLflow-Timestamp": now}
    if secret:
        digest = hmac.new(secret.encode(), f"{key}.{now}.{body}".encode(), hashlib.sha256).digest()
        headers["X-MLflow-Signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _told(payload: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The event in MLflow's words, and its data; nothing for one that has none there."""
    if (own := payload.get(_OWN)) is not None:
        return own["event"], own["data"]
    repo, event = payload["repo"], payload["event"]
    if repo["type"] != "model":
        return "", None
    team, _, name = repo["name"].partition("/")
    models = Repository.objects.filter(team__name__iexact=team, name__iexact=name, kind="model")
    repository = models.select_related("team", "mlflow_registration", "mlflow_experiment").first()
    if repository is None:
        return "", None
    if (event["action"], event["scope"]) == ("create", "repo"):
        note = getattr(repository, "mlflow_registration", None)
        if hasattr(repository, "mlflow_experiment") and not (note and note.is_asked_for):
            return "", None  # an experiment's project: it is told when somebody registers it
        tags, description = (note.tags, note.description) if note else ({}, "")
        return CREATED, {"name": _name_of(repository), "tags": tags, "description": description}
    moved = (payload.get("updatedRefs") or [{"ref": "", "newSha": None}])[0]
    return _of_moved(repository, moved["ref"], moved["newSha"])


def _of_moved(repository: Repository, ref: str, commit_id: str | None) -> tuple[str, dict[str, Any] | None]:
    versions = Version.objects.filter(repository=repository, commit_id=commit_id or "").select_related("mlflow_note")
    version, name = versions.first(), _name_of(repository)
    if ref.startswith(_ALIAS):
        alias = ref.removeprefix(_ALIAS)
        if version is None:
            return "model_version_alias.deleted", {"name": name, "alias": alias}
        return "model_version_alias.created", {"name": name, "alias": alias, "version": str(version.number)}
    if ref.startswith(_MAIN) and version is not None:
        note = note_of(version)
        data = {
            "name": name,
            "version": str(version.number),
            "source": note.source or address_of(version),
            "run_id": note.run_id or None,
            "tags": note.tags,
            "description": note.description,
        }
        return "model_version.created", data
    return "", None


def _name_of(repository: Repository) -> str:
    """As its own team calls it: webhooks watch the own team."""
    return name_for(repository, repository.team)


def _checked(events: list[str]) -> list[str]:
    if not events:
        raise InvalidInputError("A webhook needs at least one event.", parameter="events")
    if unknown := [one for one in events if one not in EVENTS]:
        raise InvalidInputError(
            f"{unknown[0]!r} does not happen here; a webhook hears of {', '.join(sorted(EVENTS))}.", parameter="events"
        )
    return list(dict.fromkeys(events))


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > 256:  # noqa: PLR2004 - MLflow's own limit
        raise InvalidInputError("A webhook's name has 1 to 256 letters.", parameter="name")
    return name


def _checked_url(url: str) -> str:
    if not url.strip():
        raise InvalidInputError("Webhook URL cannot be empty or just whitespace.", parameter="url")
    if not url.startswith(("http://", "https://")):
        raise InvalidInputError("Invalid webhook URL scheme: it begins with http:// or https://.", parameter="url")
    try:
        return ours.checked_url(url)
    except InvalidInputError as error:
        raise InvalidInputError(f"Invalid webhook URL. {error.message}", parameter="url") from error
