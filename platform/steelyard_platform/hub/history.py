"""Squashing a branch, and taking large files out of a repository for good."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from steelyard_contracts.digests import is_sha256
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.hub.http import date, hub_view, json_body, page_response
from steelyard_platform.repos import history
from steelyard_platform.repos.commits import Message
from steelyard_platform.repos.models import Entry, Repository, Version
from steelyard_platform.repos.queries import find_repository

_PAGE, _MOST_FORGOTTEN = 1000, 1000


@hub_view("POST")
def squash(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str) -> HttpResponseBase:
    actor = api_actor(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}", Action.MANAGE)
    branch_name = revision.removeprefix("refs/heads/")
    message = Message(str(json_body(request).get("message") or f"Squash {branch_name}"))
    history.squash(repository=repository, branch_name=branch_name, message=message, actor=actor)
    return HttpResponse(status=200)


@hub_view("GET")
def large_files(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    repository = find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.WRITE)
    after = request.GET.get("cursor", "0")
    if not after.isdecimal():
        raise InvalidInputError(f"{after!r} is no cursor of this list; begin again without one.", field="cursor")
    found = list(history.large_files(repository).filter(pk__gt=int(after))[: _PAGE + 1])
    pushed = _versions(repository, found)
    records = [_record(entry, pushed[entry.added_in]) for entry in found[:_PAGE]]
    return page_response(request, records, str(found[_PAGE - 1].pk) if len(found) > _PAGE else None)


def _versions(repository: Repository, entries: list[Entry]) -> dict[int, Version]:
    rows = Version.objects.filter(repository=repository, number__in={entry.added_in for entry in entries})
    return {version.number: version for version in rows}


def _record(entry: Entry, pushed: Version) -> dict[str, Any]:
    assert entry.blob is not None  # noqa: S101 - the query asks for those that have one
    name = entry.branch.name
    return {
        "fileOid": entry.blob.sha256,
        "oid": entry.blob.sha256,
        "filename": entry.path,
        "size": entry.blob.size,
        "pushedAt": date(pushed.created_at),
        "ref": name if name.startswith("refs/") else f"refs/heads/{name}",
    }


@hub_view("POST")
def forget_large_files(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    actor, body = api_actor(request), json_body(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}", Action.MANAGE)
    wanted = body.get("deletions")
    deletions: dict[str, Any] = wanted if isinstance(wanted, dict) else {}
    asked = deletions.get("sha")
    if not isinstance(asked, list) or not all(isinstance(one, str) and is_sha256(one) for one in asked):
        raise InvalidInputError("Send {'deletions': {'sha': [...]}} with SHA-256 digests.", field="deletions")
    if len(asked) > _MOST_FORGOTTEN:
        raise InvalidInputError(f"At most {_MOST_FORGOTTEN} files at once.", field="deletions")
    if deletions.get("rewriteHistory") is False:
        raise InvalidInputError("Files are taken out of every version here, or of none.", field="rewriteHistory")
    history.forget_large_files(repository=repository, digests=set(asked), actor=actor)
    return JsonResponse({})
