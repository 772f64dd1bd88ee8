"""`/api/v1`: the trash, what a deletion would break, and expiry rules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from steelyard_contracts.errors import NotFoundError
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.api.lookups import Kind, repository_at, version_at
from steelyard_platform.api.paging import Page
from steelyard_platform.repos import expiry, restoring, trash
from steelyard_platform.repos.deletion import Outlook, foresee_repository, foresee_version
from steelyard_platform.repos.models import ExpiryRule, TrashItem
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of

router = Router(tags=["retention"])


class TrashView(Schema):
    id: int
    what: str = Field(description="A repository, a branch or a version.")
    label: str
    kind: str
    repository: str
    versions: int
    size: int = Field(description="Bytes of its files, as their readers saw them.")
    deleted_by: str
    deleted_at: datetime
    due_at: datetime = Field(description="When it goes for good.")
    may_restore: bool
    may_empty: bool


class RestoreRequest(Schema):
    name: str | None = Field(None, max_length=96, description="Where somebody has taken the old name meanwhile.")


class Restored(Schema):
    label: str


class HoldView(Schema):
    kind: str
    name: str = Field(description="Empty for what the caller may not see.")
    version: str | None
    sentence: str
    stops: bool = Field(description="Whether the deletion is refused because of it.")


class DeletionView(Schema):
    label: str
    possible: bool
    lines: list[str] = Field(description="The same in sentences, as the page and the command show them.")
    holds: list[HoldView]
    versions: int
    freed: int = Field(description="Bytes that nothing else needs, freed once the trash is emptied.")
    kept_until: datetime


class ExpiryRequest(Schema):
    keep_last: int = Field(ge=1, le=expiry.MOST_KEPT, description="The newest so many of each branch stay.")
    older_than_days: int = Field(0, ge=0, le=expiry.MOST_DAYS)


class ExpiryView(ExpiryRequest):
    changed_by: str
    applied_at: datetime | None


class ForeseenView(Schema):
    versions: int
    variants: int
    freed: int
    sentence: str


@router.get("/trash", response=Page[TrashView])
def list_trash(
    request: HttpRequest, namespace: str = "", cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    """What was deleted and can be brought back, newest first: that of the teams in which the caller may write."""
    actor = api_actor(request)
    rows = trash.visible_items(actor)
    rows = rows.filter(repository__team__name__iexact=namespace) if namespace else rows
    items, following = page_of(rows, field="deleted_at", cursor=cursor, limit=limit)
    return {"items": [_item(actor, item) for item in items], "next": following}


@router.post("/trash/{int:item}/restore", response=Restored)
def restore(request: HttpRequest, item: int, body: RestoreRequest) -> Restored:
    """Brings it back with its number and id; a version takes its old place in its branch."""
    actor = api_actor(request)
    return Restored(label=restoring.restore(item=trash.find_item(actor, item), actor=actor, name=body.name))


@router.delete("/trash/{int:item}", response={204: None})
def empty(request: HttpRequest, item: int) -> Status[None]:
    """Deletes it for good, before its time."""
    actor = api_actor(request)
    restoring.empty(item=trash.find_item(actor, item), actor=actor)
    return Status(204, None)


@router.get("/{kind}/{namespace}/{name}/deletion", response=DeletionView)
def get_deletion(request: HttpRequest, kind: Kind, namespace: str, name: str) -> DeletionView:
    """What deleting the repository would do, and what stands in the way."""
    return _deletion(foresee_repository(repository_at(request, kind, namespace, name), api_actor(request)))


@router.get("/{kind}/{namespace}/{name}/versions/{segment:revision}/deletion", response=DeletionView)
def get_deletion_of_version(request: HttpRequest, kind: Kind, namespace: str, name: str, revision: str) -> DeletionView:
    """What deleting the version would do: names, releases, devices, gates, descendants, jobs, and bytes freed."""
    version = version_at(request, kind, namespace, name, revision)
    return _deletion(foresee_version(version.repository, version, api_actor(request)))


@router.get("/{kind}/{namespace}/{name}/expiry", response=ExpiryView)
def get_expiry(request: HttpRequest, kind: Kind, namespace: str, name: str) -> ExpiryView:
    repository = repository_at(request, kind, namespace, name)
    rule = expiry.rule_of(repository)
    if rule is None:
        raise NotFoundError(f"{repository.full_name} has no expiry rule; its versions stay.")
    return _rule(rule)


@router.put("/{kind}/{namespace}/{name}/expiry", response=ExpiryView)
def put_expiry(request: HttpRequest, kind: Kind, namespace: str, name: str, body: ExpiryRequest) -> ExpiryView:
    """Versions that nothing refers to go to the trash by this rule; see `expiry/preview` first."""
    actor = api_actor(request)
    return _rule(
        expiry.set_rule(repository=repository_at(request, kind, namespace, name), wanted=_wanted(body), actor=actor)
    )


@router.delete("/{kind}/{namespace}/{name}/expiry", response={204: None})
def delete_expiry(request: HttpRequest, kind: Kind, namespace: str, name: str) -> Status[None]:
    actor = api_actor(request)
    expiry.remove_rule(repository=repository_at(request, kind, namespace, name), actor=actor)
    return Status(204, None)


@router.post("/{kind}/{namespace}/{name}/expiry/preview", response=ForeseenView)
def preview_expiry(request: HttpRequest, kind: Kind, namespace: str, name: str, body: ExpiryRequest) -> ForeseenView:
    """What such a rule would take now. Nothing is kept or changed."""
    actor = api_actor(request)
    found = expiry.foresee(repository_at(request, kind, namespace, name), _wanted(body), actor)
    return ForeseenView(versions=found.versions, variants=found.variants, freed=found.freed, sentence=found.sentence)


def _wanted(body: ExpiryRequest) -> expiry.Wanted:
    return expiry.Wanted(body.keep_last, body.older_than_days)


def _rule(rule: ExpiryRule) -> ExpiryView:
    return ExpiryView(
        keep_last=rule.keep_last,
        older_than_days=rule.older_than_days,
        changed_by=rule.changed_by,
        applied_at=rule.applied_at,
    )


def _item(actor: Actor, item: TrashItem) -> TrashView:
    return TrashView(
        id=item.pk,
        what=item.what,
        label=item.label,
        kind=item.repository.kind,
        repository=item.repository.full_name,
        versions=item.versions,
        size=item.size,
        deleted_by=item.deleted_by,
        deleted_at=item.deleted_at,
        due_at=trash.due_at(item),
        may_restore=trash.may_restore(actor, item),
        may_empty=trash.may_empty(actor, item),
    )


def _deletion(outlook: Outlook) -> DeletionView:
    return DeletionView(
        label=outlook.label,
        possible=outlook.refusal is None,
        lines=outlook.lines,
        holds=[
            HoldView(kind=one.kind, name=one.name, version=one.version, sentence=one.sentence, stops=one.stops)
            for one in outlook.holds
        ],
        versions=outlook.versions,
        freed=outlook.freed,
        kept_until=outlook.kept_until,
    )
