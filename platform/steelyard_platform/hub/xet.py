"""The Xet protocol's HTTP face: tokens from the hub, then everything under `/xet/{scope}` with such a token.

Source: `openapi/cas.openapi.yaml` of huggingface/xet-core.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse

from steelyard_contracts.errors import (
    EntryNotFoundError,
    InvalidInputError,
    NotFoundError,
    SteelyardError,
    TooLargeError,
    UnavailableError,
)
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.xet.hashes import from_text, to_text
from steelyard_contracts.xet.shards import MAX_SHARD
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.hub.commits import action_for
from steelyard_platform.hub.http import absolute, hub_view
from steelyard_platform.repos.downloads import note_download
from steelyard_platform.repos.models import Entry, Repository
from steelyard_platform.repos.proposals import sending_team
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.storage.delivery import RangeUnsatisfiableError, parse_range
from steelyard_platform.storage.models import TransferReport, XetFile, xorb_key
from steelyard_platform.storage.objects import SignedRanges
from steelyard_platform.storage.receiving import body_stream
from steelyard_platform.storage.services import object_store
from steelyard_platform.storage.xet import deduplication, tokens
from steelyard_platform.storage.xet.reconstruction import Reconstruction, reconstruct
from steelyard_platform.storage.xet.tokens import Access, Right
from steelyard_platform.storage.xet.uploads import ShardRegistration, build_on, held_xorbs, store_xorb
from steelyard_platform.weights.quarantine import check_content, check_download

_MAX_REPORT = 1024 * 1024
# What is kept of a report, which anybody who can read may send.
_MOST_METRICS, _LONGEST_TEXT = 200, 200


@hub_view("GET")
def token(
    request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str, right: Right
) -> HttpResponseBase:
    """A token for the store, in headers and as JSON. The right is checked now, and again when it is renewed."""
    actor = api_actor(request)
    if right is Right.READ:
        repository = find_repository(actor, kind, f"{namespace}/{name}")
        snapshot = resolve(repository, revision)
        check_download(snapshot, actor)
        note_download(repository, actor, request.META.get("REMOTE_ADDR", ""))
        version_id = snapshot.version.pk if snapshot.version else tokens.NO_VERSION
        inspects = may(actor, Action.INSPECT, repository.resource)
        access = Access(repository.team_id, repository.pk, right, version_id, inspects)
    else:  # clients that write name no revision, or one that is yet to be made
        repository = find_repository(actor, kind, f"{namespace}/{name}", action_for(request, revision))
        access = Access(sending_team(actor, repository).pk, repository.pk, right)
    issued, expires = tokens.issue(access)
    address = absolute(request, f"/xet/{tokens.scope_of(access.team_id)}")
    return JsonResponse(
        {"casUrl": address, "accessToken": issued, "exp": expires},
        headers={
            "X-Xet-Cas-Url": address,
            "X-Xet-Access-Token": issued,
            "X-Xet-Token-Expiration": str(expires),
            "Cache-Control": "no-store",
        },
    )


def token_address(request: HttpRequest, repository: Repository, right: Right, revision: str) -> str:
    kind = RepositoryKind(repository.kind).plural
    return absolute(request, f"/api/{kind}/{repository.full_name}/xet-{right}-token/{revision}")


def access_of(request: HttpRequest, right: Right, scope: str | None) -> Access:
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    return tokens.check(sent.strip() if scheme.lower() == "bearer" else "", right, scope)


@hub_view("GET")
def reconstruction(request: HttpRequest, scope: str, digest: str) -> HttpResponseBase:
    """Which chunks make the file, and an address for each range of them."""
    found = _reconstruction(request, scope, digest)
    if found is None:
        return HttpResponse(status=416)
    fetch = {
        xorb: [
            {
                "range": {"start": chunks.start, "end": chunks.end},
                "url": absolute(request, signed.address),
                "url_range": {"start": chunks.span.start, "end": chunks.span.end - 1},
            }
            for chunks in ranges
            for signed in _signed(xorb, [(chunks.span.start, chunks.span.end)])
        ]
        for xorb, ranges in found.ranges.items()
    }
    return JsonResponse({**_terms(found), "fetch_info": fetch})


@hub_view("GET")
def reconstruction_v2(request: HttpRequest, scope: str, digest: str) -> HttpResponseBase:
    """The same with one address for several ranges of a xorb, where the store serves several at once."""
    found = _reconstruction(request, scope, digest)
    if found is None:
        return HttpResponse(status=416)
    fetch: dict[str, list[dict[str, Any]]] = {}
    for xorb, ranges in found.ranges.items():
        by_span = {(chunks.span.start, chunks.span.end): chunks for chunks in ranges}
        fetch[xorb] = [
            {
                "url": absolute(request, signed.address),
                "ranges": [
                    {
                        "chunks": {"start": by_span[span].start, "end": by_span[span].end},
                        "bytes": {"start": span[0], "end": span[1] - 1},
                    }
                    for span in signed.spans
                ],
            }
            for signed in _signed(xorb, list(by_span))
        ]
    return JsonResponse({**_terms(found), "xorbs": fetch})


def _signed(xorb: str, spans: list[tuple[int, int]]) -> list[SignedRanges]:
    return object_store().signed_ranges(xorb_key(xorb), settings.ENVIRONMENT.signed_url_seconds, spans)


def _terms(found: Reconstruction) -> dict[str, Any]:
    return {
        "offset_into_first_range": found.skip,
        "terms": [
            {
                "hash": to_text(term.xorb),
                "range": {"start": term.start, "end": term.end},
                "unpacked_length": term.length,
            }
            for term in found.terms
        ],
    }


def _reconstruction(request: HttpRequest, scope: str, digest: str) -> Reconstruction | None:
    """None when the range asked for begins behind the file's end."""
    file = readable_file(access_of(request, Right.READ, scope), digest)
    try:
        return reconstruct(file, parse_range(request.headers.get("Range", ""), file.size))
    except RangeUnsatisfiableError:
        return None


def readable_file(access: Access, digest: str) -> XetFile:
    """The file, if the token opens it.

    Raises:
        EntryNotFoundError: no version of the token's repository holds the file: to it no other exists.
        QuarantinedError: the file is dangerous, and the quarantine of the token's version is not lifted.
    """
    from_text(digest)
    file = XetFile.objects.filter(pk=digest).first()
    repository = Repository.objects.filter(pk=access.repository_id)  # not in the trash since the token was given
    there = Entry.objects.filter(branch__repository__in=repository, blob__xet=digest)
    found = there.values_list("blob_id", "blob__weight_file__has_danger").first()
    if file is None or found is None:
        raise EntryNotFoundError("This repository has no file with this hash.")
    sha256, is_dangerous = found
    if not access.inspects:
        check_content(sha256=sha256, is_dangerous=bool(is_dangerous), version_id=access.version_id)
    return file


@hub_view("HEAD", "POST")
def xorb(request: HttpRequest, scope: str, digest: str) -> HttpResponseBase:
    access = access_of(request, Right.WRITE, scope)
    if request.method == "HEAD":
        from_text(digest)
        return HttpResponse(status=200 if held_xorbs(access.team_id, [digest]) else 404)
    return JsonResponse({"was_inserted": store_xorb(access.team_id, digest, body_stream(request))})


@hub_view("POST")
def xorb_grant(request: HttpRequest, scope: str, digest: str) -> HttpResponse:
    """Clients ask before they send a xorb: 200 says that it is there, 404 that it is to be sent to `xorb`.

    The protocol's third answer, an address to send it to past this server, is not given: a xorb is checked as it comes.
    """
    access = access_of(request, Right.WRITE, scope)
    if not build_on(access.team_id, digest):
        return HttpResponse(status=404)
    return JsonResponse({})


@hub_view("POST")
def shard(request: HttpRequest, scope: str) -> HttpResponseBase:
    for _ in _registration(request, scope).run():
        pass
    return JsonResponse({"result": 1})


@hub_view("POST")
def shard_v2(request: HttpRequest, scope: str) -> HttpResponseBase:
    """The same with a line of JSON for each step; a failure behind the first line is a line too."""
    # Beyond the protocol, the last line says what each file's SHA-256 is, for senders that did not compute it.
    return StreamingHttpResponse(_events(_registration(request, scope)), content_type="application/x-ndjson")


def _registration(request: HttpRequest, scope: str) -> ShardRegistration:
    access = access_of(request, Right.WRITE, scope)
    return ShardRegistration(access.team_id, _whole_body(request, MAX_SHARD, "A shard"))


def _events(registration: ShardRegistration) -> Iterator[bytes]:
    try:
        for progress in registration.run():
            yield _line(type="validating", verified=progress.verified, total=progress.total)
        yield _line(type="committing", stage="syncing")
        files = [{"hash": file.digest, "sha256": file.sha256, "size": file.size} for file in registration.files]
        yield _line(type="result", files=files)
    except SteelyardError as error:
        yield _line(type="error", message=error.message, retryable=isinstance(error, UnavailableError))


def _line(**event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


@hub_view("GET")
def chunk(request: HttpRequest, scope: str, digest: str) -> HttpResponseBase:
    # The protocol would let readers ask. But anybody may read a public repository, and the answer speaks of all that
    # its namespace holds; only uploads have a use for it.
    access = access_of(request, Right.WRITE, scope)
    try:
        answer = deduplication.answer(access.team_id, digest)
    except NotFoundError:
        return HttpResponse(status=404)
    return HttpResponse(answer, content_type="application/octet-stream")


@hub_view("POST")
def telemetry(request: HttpRequest, scope: str | None = None) -> HttpResponseBase:
    """A client's account of a transfer; feeds the statistics. hf_xet sends it to the root, whatever the store is."""
    access = access_of(request, Right.READ, scope)
    try:
        # NaN and Infinity, which Python reads and JSON does not know, are dropped like anything else that is no value.
        report = json.loads(_whole_body(request, _MAX_REPORT, "A report"), parse_constant=lambda _: None)
    except ValueError as error:
        raise InvalidInputError("The report is not JSON.") from error
    if not isinstance(report, dict) or not isinstance(report.get("metrics"), dict):
        raise InvalidInputError("A report has an 'event' and 'metrics'.")
    TransferReport.objects.create(
        team_id=access.team_id,
        repository=access.repository_id,
        event=str(report.get("event"))[:64],
        client=str(report.get("userAgent") or report.get("user_agent"))[:_LONGEST_TEXT],
        metrics={
            key[:_LONGEST_TEXT]: value[:_LONGEST_TEXT] if isinstance(value, str) else value
            for key, value in list(report["metrics"].items())[:_MOST_METRICS]
            if isinstance(value, str | int | float | bool)
        },
    )
    return HttpResponse(status=200)


def _whole_body(request: HttpRequest, limit: int, what: str) -> bytes:
    body = bytearray()
    for block in body_stream(request):
        body += block
        if len(body) > limit:
            raise TooLargeError(f"{what} takes at most {limit} bytes.")
    return bytes(body)
