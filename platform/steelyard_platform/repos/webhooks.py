"""Webhooks: what happens to a repository is told to those who watch it.

    announce(repository, Event("update", "repo.content", refs=[…]))      in the transaction of what happened

An announcement is a row for each webhook that watches, written together with the event; `repos.deliveries` sends them.
A webhook hears of a private repository only as long as its owner is a member of the team.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Lower

from steelyard_contracts.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Membership
from steelyard_platform.accounts.permissions import NOBODY, SCOPE_ALLOWS, Action, Actor
from steelyard_platform.repos.models import Proposal, Repository, Version, Webhook, WebhookDelivery, WebhookWatch

DOMAINS = ("repo", "discussion")
_KINDS = frozenset({"user", "org", *RepositoryKind})
_VERSION = 3
_MAX_WEBHOOKS, _MAX_WATCHES, _LONGEST_URL, _LONGEST_SECRET = 50, 100, 2000, 500


@dataclass(frozen=True, slots=True)
class UpdatedRef:
    ref: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Discussed:
    """A proposal or a request for promotion, as the Hub speaks of discussions.

    `page`: its address within the repository's; `status`: open, merged or closed.
    """

    key: str
    number: int
    title: str
    author: str
    page: str
    status: str = "open"
    is_pull_request: bool = False

    @classmethod
    def proposal(cls, proposal: Proposal) -> Discussed:
        page, author = f"discussions/{proposal.number}", str(proposal.author_id or proposal.author_name)
        return cls(str(proposal.pk), proposal.number, proposal.title, author, page, is_pull_request=True)


@dataclass(frozen=True, slots=True)
class Comment:
    key: str
    author: str
    content: str


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, in the Hub's words.

    `action`: create, delete, move or update; `scope`: repo, repo.content, repo.config, discussion or
    discussion.comment.
    """

    action: str
    scope: str
    refs: list[UpdatedRef] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    discussed: Discussed | None = None
    comment: Comment | None = None
    moved_from: str = ""

    @property
    def domain(self) -> str:
        return self.scope.partition(".")[0]


def announce(repository: Repository, event: Event) -> None:
    """One query where nobody watches, two more where somebody does."""
    webhooks = [hook for hook in watching(repository, event) if event.domain in hook.domains]
    if webhooks:
        payload = _payload(repository, event)
        WebhookDelivery.objects.bulk_create(
            WebhookDelivery(webhook=hook, payload=_addressed(payload, hook)) for hook in webhooks
        )


def announce_ref(
    repository: Repository, ref: str, *, before: Version | None = None, after: Version | None = None
) -> None:
    """A branch or a tag now names another version, or none."""
    moved = UpdatedRef(ref, before.commit_id if before else None, after.commit_id if after else None)
    announce(repository, Event("update", "repo.content", refs=[moved]))


def ref_of(branch_name: str) -> str:
    return branch_name if branch_name.startswith("refs/") else f"refs/heads/{branch_name}"


def watching(repository: Repository, event: Event) -> QuerySet[Webhook]:
    """Those that are told what happens to it, whatever they want to hear of."""
    names = {repository.full_name.lower(), event.moved_from.lower()}
    about = Q(kind__in=("user", "org"), lower=repository.team.name.lower())
    about |= Q(kind=repository.kind, lower__in=names)
    watches = WebhookWatch.objects.annotate(lower=Lower("name")).filter(about)
    found = Webhook.objects.filter(is_disabled=False, user__is_active=True, pk__in=watches.values("webhook"))
    if repository.is_public:
        return found
    return found.filter(Exists(Membership.objects.filter(team=repository.team_id, user=OuterRef("user"))))


def _payload(repository: Repository, event: Event) -> dict[str, Any]:
    kind = RepositoryKind(repository.kind)
    payload: dict[str, Any] = {
        "event": {"action": event.action, "scope": event.scope},
        "repo": {
            "type": str(kind),
            "name": repository.full_name,
            "id": repository.pk.hex[:24],
            "private": not repository.is_public,
            "owner": {"id": str(repository.team_id)},
            "tags": repository.tags,
            "url": {"web": repository.page, "api": f"/api/{kind.plural}/{repository.full_name}"},
        },
    }
    if event.refs:
        payload["updatedRefs"] = [{"ref": one.ref, "oldSha": one.before, "newSha": one.after} for one in event.refs]
        payload["repo"]["headSha"] = event.refs[0].after
    if event.config:
        payload["updatedConfig"] = event.config
    if event.moved_from:
        payload["movedTo"] = {"name": repository.full_name, "owner": {"id": str(repository.team_id)}}
        payload["repo"]["name"] = event.moved_from
    if event.discussed is not None:
        payload["discussion"] = _discussion(repository, event.discussed)
    if event.comment is not None:
        said = event.comment
        payload["comment"] = {"id": said.key, "author": {"id": said.author}, "content": said.content, "hidden": False}
    return payload


def _discussion(repository: Repository, one: Discussed) -> dict[str, Any]:
    # The Hub's API knows pull requests; of promotions only ours does.
    api = f"/api/{'' if one.is_pull_request else 'v1/'}{RepositoryKind(repository.kind).plural}/{repository.full_name}"
    record: dict[str, Any] = {
        "id": one.key,
        "num": one.number,
        "title": one.title,
        "status": one.status,
        "isPullRequest": one.is_pull_request,
        "author": {"id": one.author},
        "url": {"web": f"{repository.page}/{one.page}", "api": f"{api}/{one.page}"},
    }
    if one.is_pull_request:
        record["changes"] = {"base": "refs/heads/main"}
    return record


def _addressed(payload: dict[str, Any], webhook: Webhook) -> dict[str, Any]:
    """With whole addresses, as the webhook's owner sees the installation."""
    origin = settings.PUBLIC_URL or webhook.origin
    whole = {**payload, "webhook": {"id": webhook.pk.hex[:24], "version": _VERSION}}
    for part in ("repo", "discussion"):
        if part in whole:
            addresses = {name: origin + path for name, path in whole[part]["url"].items()}
            whole[part] = {**whole[part], "url": addresses}
    return whole


def webhooks_of(actor: Actor) -> QuerySet[Webhook]:
    """Raises: ForbiddenError for whoever is no person."""
    if actor.user_id == NOBODY or Action.READ not in SCOPE_ALLOWS[actor.scope]:
        raise ForbiddenError("Webhooks belong to people.")
    return Webhook.objects.filter(user=actor.user_id).prefetch_related("watches").order_by("created_at", "pk")


def webhook_named(actor: Actor, identifier: str) -> Webhook:
    """Raises: NotFoundError, also for another one's."""
    try:
        found = webhooks_of(actor).filter(pk=UUID(identifier)).first()
    except ValueError:
        found = None
    if found is None:
        raise NotFoundError(f"You have no webhook {identifier}.")
    return found


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a webhook should be. None: as it is, or nothing."""

    url: str | None = None
    watched: list[tuple[str, str]] | None = None  # (kind, name)
    domains: list[str] | None = None
    secret: str | None = None


@transaction.atomic
def create_webhook(*, wishes: Wishes, origin: str, actor: Actor) -> Webhook:
    """Raises: ForbiddenError, InvalidInputError, ConflictError for one too many."""
    _check_may_change(actor)
    if webhooks_of(actor).count() >= _MAX_WEBHOOKS:
        raise ConflictError(f"Nobody has more than {_MAX_WEBHOOKS} webhooks; delete one first.")
    if wishes.url is None or not wishes.watched:
        raise InvalidInputError("A webhook needs a 'url' and something 'watched'.")
    webhook = Webhook(user_id=actor.user_id, origin=origin, domains=list(DOMAINS))
    _apply(webhook, wishes)
    audit.record(actor, "create webhook", str(webhook), host=urlsplit(webhook.url).hostname)
    return webhook


@transaction.atomic
def change_webhook(*, webhook: Webhook, wishes: Wishes, actor: Actor) -> None:
    """Raises: ForbiddenError, InvalidInputError."""
    _check_may_change(actor)
    _apply(webhook, wishes)
    audit.record(actor, "change webhook", str(webhook), host=urlsplit(webhook.url).hostname)


@transaction.atomic
def switch_webhook(*, webhook: Webhook, disabled: bool, actor: Actor) -> None:
    """What waited for a disabled one is not sent later. Raises: ForbiddenError."""
    _check_may_change(actor)
    webhook.is_disabled = disabled
    webhook.save(update_fields=["is_disabled"])
    if disabled:
        WebhookDelivery.objects.filter(webhook=webhook).delete()
    audit.record(actor, "disable webhook" if disabled else "enable webhook", str(webhook))


@transaction.atomic
def delete_webhook(*, webhook: Webhook, actor: Actor) -> None:
    """Raises: ForbiddenError."""
    _check_may_change(actor)
    name = str(webhook)
    webhook.delete()
    audit.record(actor, "delete webhook", name)


def _check_may_change(actor: Actor) -> None:
    if actor.user_id == NOBODY or Action.WRITE not in SCOPE_ALLOWS[actor.scope]:
        raise ForbiddenError("Only people change webhooks, with a token that may write.")


def _apply(webhook: Webhook, wishes: Wishes) -> None:
    if wishes.url is not None:
        webhook.url = checked_url(wishes.url)
    if wishes.domains is not None:
        webhook.domains = _checked_domains(wishes.domains)
    if wishes.secret is not None:
        webhook.sealed_secret = seal(wishes.secret)
    webhook.save()
    if wishes.watched:
        watched = {(kind, name.lower()): (kind, name) for kind, name in _checked_watches(wishes.watched)}
        webhook.watches.all().delete()
        WebhookWatch.objects.bulk_create(
            WebhookWatch(webhook=webhook, kind=kind, name=name) for kind, name in watched.values()
        )


def checked_url(url: str) -> str:
    """Where it leads is looked at when something is sent there: a name can change its meaning until then."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets without an address
        is_one = False
    if not is_one or len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInputError("A webhook's url is an http:// or https:// address of a host.", field="url")
    if parts.username or parts.password:
        raise InvalidInputError("A webhook's url holds no password; use a secret, which is sent as a header.")
    return url


def _checked_domains(domains: Iterable[str]) -> list[str]:
    found = sorted(set(domains))
    if not found or not set(found) <= set(DOMAINS):
        raise InvalidInputError(f"A webhook's domains are among {', '.join(DOMAINS)}.", field="domains")
    return found


def _checked_watches(watched: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if len(watched) > _MAX_WATCHES:
        raise InvalidInputError(f"A webhook watches at most {_MAX_WATCHES} things.", field="watched")
    for kind, name in watched:
        if kind not in _KINDS or not name or len(name) > 200:  # noqa: PLR2004 - the column's length
            raise InvalidInputError(f"A webhook watches a user, an org, a model or a dataset, not {kind!r}.")
    return watched


def seal(secret: str) -> str:
    """A secret as it is kept: who reads the database alone does not read it. Raises: InvalidInputError."""
    if len(secret) > _LONGEST_SECRET or not secret.isascii() or not secret.isprintable():
        raise InvalidInputError(f"A secret is at most {_LONGEST_SECRET} printable letters.", field="secret")
    return _sealer().encrypt(secret.encode()).decode() if secret else ""


def unsealed(webhook: Webhook) -> str | None:
    """None without a secret, and for one that was sealed with another installation's key."""
    try:
        return _sealer().decrypt(webhook.sealed_secret).decode() if webhook.sealed_secret else None
    except InvalidToken:
        return None


def _sealer() -> Fernet:
    key = hashlib.sha256(b"steelyard.webhooks:" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
