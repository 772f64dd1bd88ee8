"""`/api/v1`: what a repository calls its versions: aliases, with their history, and tags."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from steelyard_contracts.promotions import LONGEST_REASON, GateVerdict
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.api.lookups import Kind, repository_at, version_in
from steelyard_platform.api.paging import Page
from steelyard_platform.repos import services
from steelyard_platform.repos.models import Alias, AliasMove, Tag
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.services import promote_version

router = Router(tags=["names"])
_HOME = "/{kind}/{namespace}/{name}"


class AliasView(Schema):
    name: str
    version: str
    protected: bool


class AliasRequest(Schema):
    revision: str
    reason: str = Field("", max_length=LONGEST_REASON)
    override: bool = Field(default=False, description="Past gates that refuse: for maintainers, with a reason.")


class ProtectRequest(Schema):
    protected: bool


class AliasMoveView(Schema):
    alias: str
    from_version: str | None
    to_version: str | None = Field(description="Null: the alias was deleted.")
    actor: str
    reason: str
    at: datetime
    verdicts: list[GateVerdict] = Field(description="What the gates had said.")
    overridden: list[str] = Field(description="What they had said against it, when it was moved all the same.")
    promotion: int | None = Field(description="The request that it was carried out for.")


class TagView(Schema):
    name: str
    version: str
    message: str


class TagRequest(Schema):
    name: str
    revision: str = DEFAULT_REVISION
    message: str = Field("", max_length=10_000)


@router.get(f"{_HOME}/aliases", response=list[AliasView])
def list_aliases(request: HttpRequest, kind: Kind, namespace: str, name: str) -> list[AliasView]:
    repository = repository_at(request, kind, namespace, name)
    rows = Alias.objects.filter(repository=repository).select_related("version")
    return [
        AliasView(name=row.name, version=row.version.label, protected=row.is_protected) for row in rows.order_by("name")
    ]


@router.put(f"{_HOME}/aliases/{{segment:alias}}", response=AliasView)
def put_alias(request: HttpRequest, kind: Kind, namespace: str, name: str, alias: str, body: AliasRequest) -> AliasView:
    """Moves the alias if every gate allows it; the refusal says which did not."""
    version = version_in(repository_at(request, kind, namespace, name), body.revision)
    moved = promote_version(
        version=version, alias=alias, reason=body.reason, override=body.override, actor=api_actor(request)
    )
    return AliasView(name=moved.name, version=version.label, protected=moved.is_protected)


@router.patch(f"{_HOME}/aliases/{{segment:alias}}", response=ProtectRequest)
def protect_alias(
    request: HttpRequest, kind: Kind, namespace: str, name: str, alias: str, body: ProtectRequest
) -> ProtectRequest:
    """Only maintainers may move or delete a protected alias."""
    repository = repository_at(request, kind, namespace, name)
    services.protect_alias(repository=repository, name=alias, protected=body.protected, actor=api_actor(request))
    return body


@router.delete(f"{_HOME}/aliases/{{segment:alias}}", response={204: None})
def delete_alias(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    alias: str,
    reason: str = "",
) -> Status[None]:
    """Its history stays."""
    repository = repository_at(request, kind, namespace, name)
    services.delete_alias(repository=repository, name=alias, reason=reason, actor=api_actor(request))
    return Status(204, None)


@router.get(f"{_HOME}/alias-history", response=Page[AliasMoveView])
def list_alias_moves(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    alias: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """Who moved which alias, when, from where to where, and why: newest first, of all aliases or one."""
    rows = AliasMove.objects.filter(repository=repository_at(request, kind, namespace, name))
    rows = rows.select_related("from_version", "to_version", "promotion")
    items, following = page_of(rows.filter(alias=alias) if alias else rows, field="at", cursor=cursor, limit=limit)
    return {"items": [_move(item) for item in items], "next": following}


@router.get(f"{_HOME}/tags", response=Page[TagView])
def list_tags(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """Newest first."""
    rows = Tag.objects.filter(repository=repository_at(request, kind, namespace, name)).select_related("version")
    items, following = page_of(rows, field="pk", cursor=cursor, limit=limit)
    return {"items": [_tag(item) for item in items], "next": following}


@router.post(f"{_HOME}/tags", response={201: TagView})
def add_tag(request: HttpRequest, kind: Kind, namespace: str, name: str, body: TagRequest) -> Status[TagView]:
    """A name that stays where it is."""
    repository = repository_at(request, kind, namespace, name)
    tag = services.create_tag(
        repository=repository,
        name=body.name,
        at=resolve(repository, body.revision),
        message=body.message,
        actor=api_actor(request),
    )
    return Status(201, _tag(tag))


@router.delete(f"{_HOME}/tags/{{segment:tag}}", response={204: None})
def delete_tag(request: HttpRequest, kind: Kind, namespace: str, name: str, tag: str) -> Status[None]:
    repository = repository_at(request, kind, namespace, name)
    services.delete_tag(repository=repository, name=tag, actor=api_actor(request))
    return Status(204, None)


def _tag(tag: Tag) -> TagView:
    return TagView(name=tag.name, version=tag.version.label, message=tag.message)


def _move(move: AliasMove) -> AliasMoveView:
    promotion = getattr(move, "promotion", None)  # Django raises where nothing points back
    return AliasMoveView(
        alias=move.alias,
        from_version=move.from_version.label if move.from_version else None,
        to_version=move.to_version.label if move.to_version else None,
        actor=move.actor,
        reason=move.reason,
        at=move.at,
        verdicts=[GateVerdict.model_validate(verdict) for verdict in move.verdicts],
        overridden=move.overridden,
        promotion=promotion.number if promotion else None,
    )
