"""What our own SDK asks of the store beside the Xet protocol, under `/xet/{scope}/steelyard`, with the same tokens.

    known     which chunks need not be sent: one question for a whole push
    chunks    which chunks make a file, so that a reader fetches only those it lacks, and checks each
    ranges    addresses for some of them

What travels is the protocol's: what came this way is read by any Hub client, and the other way round.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import InvalidInputError, RepositoryNotFoundError
from steelyard_contracts.xet.hashes import from_text
from steelyard_contracts.xet.recipes import pack_chunks
from steelyard_platform.hub.http import absolute, hub_view, json_body
from steelyard_platform.hub.xet import access_of, readable_file
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.storage.models import xorb_key
from steelyard_platform.storage.services import object_store
from steelyard_platform.storage.xet import deduplication
from steelyard_platform.storage.xet.reconstruction import Piece, chunks_of, locate
from steelyard_platform.storage.xet.tokens import Right

_MOST_ASKED = 100_000


@hub_view("POST")
def known(request: HttpRequest, scope: str) -> HttpResponseBase:
    """`{"chunks": [hash, ...], "revision": "main", "paths": [...]}`: a shard of the xorbs that a push can build on.

    They are those that hold the chunks, and those of the files that stand at the paths now.
    """
    access = access_of(request, Right.WRITE, scope)
    body = json_body(request)
    asked, paths = _texts(body, "chunks"), _texts(body, "paths")
    for chunk in asked:
        from_text(chunk)
    repository = Repository.objects.select_related("team").filter(pk=access.repository_id).first()
    if repository is None:
        raise RepositoryNotFoundError("The repository that this token is for is gone.")
    there = tree.entries_for_paths(resolve(repository, str(body.get("revision") or "main")).version, paths)
    files = [entry.blob.xet_id for entry in there.values() if entry.blob and entry.blob.xet_id]
    answer = deduplication.answer_push(access.team_id, asked, files)
    return HttpResponse(answer, content_type="application/octet-stream")


@hub_view("GET")
def recipe(request: HttpRequest, scope: str, digest: str) -> HttpResponseBase:
    """The file's chunks in order: `steelyard_contracts.xet.recipes`."""
    file = readable_file(access_of(request, Right.READ, scope), digest)
    packed = pack_chunks((chunk.digest, chunk.length) for chunk in chunks_of(file))
    return HttpResponse(packed, content_type="application/octet-stream")


@hub_view("POST")
def ranges(request: HttpRequest, scope: str, digest: str) -> HttpResponseBase:
    """`{"chunks": [[first, end], ...]}`, ascending: addresses for these chunks of the file, and which each brings."""
    file = readable_file(access_of(request, Right.READ, scope), digest)
    wanted = json_body(request).get("chunks")
    if not isinstance(wanted, list) or not all(_is_range(one) for one in wanted):
        raise InvalidInputError("Send 'chunks', a list of [first, end].", field="chunks")
    if any(one[1] > other[0] for one, other in pairwise(wanted)):
        raise InvalidInputError("The ranges of 'chunks' must ascend and not overlap.", field="chunks")
    return JsonResponse({"ranges": [_addressed(request, piece) for piece in locate(file, wanted)]})


def _addressed(request: HttpRequest, piece: Piece) -> dict[str, Any]:
    span = (piece.span.start, piece.span.end)
    (signed,) = object_store().signed_ranges(xorb_key(piece.xorb), settings.ENVIRONMENT.signed_url_seconds, [span])
    return {"url": absolute(request, signed.address), "bytes": span, "chunks": (piece.first, piece.last)}


def _is_range(one: object) -> bool:
    match one:
        case [int(first), int(end)]:
            return 0 <= first < end
        case _:
            return False


def _texts(body: dict[str, Any], field: str) -> list[str]:
    found = body.get(field) or []
    if not isinstance(found, list) or len(found) > _MOST_ASKED or not all(isinstance(one, str) for one in found):
        raise InvalidInputError(f"Send {field!r}, a list of at most {_MOST_ASKED} texts.", field=field)
    return found
