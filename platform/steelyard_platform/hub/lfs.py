"""Whole-file uploads by the Git LFS batch API, with the Hub's multipart extension.

    batch      where to PUT each file that has not come before
    complete   puts the parts of a large file together; its address is its own credential
    verify     hashes what arrived; only then does the file exist

Source: git-lfs/docs/api/batch.md; the multipart transfer is the Hub's own.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.digests import is_sha256
from steelyard_contracts.errors import ForbiddenError, InvalidInputError
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.hub.http import absolute, hub_view, json_body, kind_of
from steelyard_platform.repos.blobs import accept_staged, held_blobs, staged_sizes, staging_key
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.storage.objects import Part
from steelyard_platform.storage.services import object_store

PART_BYTES = 64 * 1024 * 1024
_MAX_OBJECTS = 1000
_TICKET = "steelyard.lfs.complete"


@hub_view("POST")
def batch(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    repository = find_repository(api_actor(request), kind_of(kind), f"{namespace}/{name}", Action.WRITE)
    body = json_body(request)
    if body.get("operation") != "upload":
        raise InvalidInputError("Download files from their /resolve/ address; LFS is for uploads here.")
    objects = [_announced(one) for one in body.get("objects") or []]
    if len(objects) > _MAX_OBJECTS:
        raise InvalidInputError(f"At most {_MAX_OBJECTS} objects in one batch.")
    held = held_blobs(repository.team, [oid for oid, _ in objects])
    # Of a push that broke off before it asked for `verify`; the commit checks it then.
    staged = staged_sizes(repository) if objects else {}
    in_parts = "multipart" in (body.get("transfers") or [])
    answers: list[dict[str, Any]] = [
        {"oid": oid, "size": size}
        if oid in held or staged.get(oid) == size
        else _slot(request, repository, oid, size, in_parts=in_parts)
        for oid, size in dict(objects).items()
    ]
    is_multipart = any("chunk_size" in one.get("actions", {}).get("upload", {}).get("header", {}) for one in answers)
    response = JsonResponse(
        {"transfer": "multipart" if is_multipart else "basic", "objects": answers, "hash_algo": "sha256"}
    )
    response.headers["Content-Type"] = "application/vnd.git-lfs+json"
    return response


def _announced(record: Any) -> tuple[str, int]:
    oid, size = (record.get("oid"), record.get("size")) if isinstance(record, dict) else (None, None)
    if not isinstance(oid, str) or not is_sha256(oid) or not isinstance(size, int) or size < 0:
        raise InvalidInputError("Each object needs an 'oid' (its SHA-256) and a 'size' in bytes.")
    return oid, size


def _slot(request: HttpRequest, repository: Repository, oid: str, size: int, *, in_parts: bool) -> dict[str, Any]:
    upload = (
        _parts(request, repository, oid, size) if in_parts and size > PART_BYTES else _single(request, repository, oid)
    )
    verify = absolute(request, f"{repository.page}.git/info/lfs/objects/verify")
    return {
        "oid": oid,
        "size": size,
        "authenticated": True,
        "actions": {"upload": upload, "verify": {"href": verify}},
    }


def _single(request: HttpRequest, repository: Repository, oid: str) -> dict[str, Any]:
    address = object_store().signed_put(staging_key(repository, oid), settings.ENVIRONMENT.signed_url_seconds)
    return {"href": absolute(request, address)}


def _parts(request: HttpRequest, repository: Repository, oid: str, size: int) -> dict[str, Any]:
    store, key, seconds = (
        object_store(),
        staging_key(repository, oid),
        settings.ENVIRONMENT.signed_url_seconds,
    )
    upload = store.start_parts(key)
    count = -(-size // PART_BYTES)
    parts = {str(n): absolute(request, store.signed_part(key, upload, n, seconds)) for n in range(1, count + 1)}
    ticket = signing.dumps({"key": key, "upload": upload, "oid": oid}, salt=_TICKET)
    return {
        "href": absolute(request, f"/lfs/complete/{ticket}"),
        "header": {"chunk_size": str(PART_BYTES), **parts},
    }


@hub_view("POST")
def complete(request: HttpRequest, ticket: str) -> HttpResponseBase:
    try:
        claims = signing.loads(ticket, salt=_TICKET, max_age=settings.ENVIRONMENT.signed_url_seconds)
    except signing.BadSignature as error:
        raise ForbiddenError("This upload's address is not valid, or has expired; ask for a new one.") from error
    parts = [_part(one) for one in json_body(request).get("parts") or []]
    object_store().finish_parts(claims["key"], claims["upload"], parts)
    return JsonResponse({"oid": claims["oid"]})


def _part(record: Any) -> Part:
    try:
        return Part(int(record["partNumber"]), str(record["etag"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError("Each part needs a 'partNumber' and an 'etag'.") from error


@hub_view("POST")
def verify(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    repository = find_repository(api_actor(request), kind_of(kind), f"{namespace}/{name}", Action.WRITE)
    oid, size = _announced(json_body(request))
    accept_staged(repository, sha256=oid, size=size)
    return JsonResponse({"oid": oid, "size": size})
