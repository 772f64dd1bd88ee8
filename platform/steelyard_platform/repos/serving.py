"""Serving a version's file by HTTP: straight from the object store where that is possible, else as a stream."""

from __future__ import annotations

import mimetypes
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from steelyard_platform.repos.blobs import WHOLE_FILES, read_blob
from steelyard_platform.repos.models import Blob, Entry
from steelyard_platform.storage.delivery import deliver
from steelyard_platform.storage.services import object_store

# A user's HTML or SVG served from this origin could act with the reader's session.
_SHOWN_AS_TEXT = frozenset({"text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml"})


def serve_entry(request: HttpRequest, entry: Entry) -> HttpResponseBase:
    """200, 206 or 416 from here; or 302 to the object store for a large file on S3."""
    blob = entry.blob
    assert blob is not None  # noqa: S101 - tombstones never leave `tree`
    filename = entry.path.rpartition("/")[2]
    response = _redirect(blob, entry, filename) or deliver(
        request,
        lambda start, end: read_blob(blob, start, end),
        size=blob.size,
        etag=entry.etag,
        content_type=content_type_of(filename),
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    encoded = quote(filename, safe="")
    response.headers["Content-Disposition"] = f"inline; filename*=UTF-8''{encoded}; filename=\"{_ascii(filename)}\";"
    return response


def content_type_of(filename: str) -> str:
    guessed, _ = mimetypes.guess_type(filename)
    if guessed is None:
        return "application/octet-stream"
    return "text/plain; charset=utf-8" if guessed in _SHOWN_AS_TEXT or guessed.startswith("text/") else guessed


def _redirect(blob: Blob, entry: Entry, filename: str) -> HttpResponse | None:
    """Large files go straight from S3 to the client; slices of packs cannot, and small ones need not."""
    if not entry.is_lfs or not blob.object_key.startswith(WHOLE_FILES):
        return None
    address = object_store().signed_get(
        blob.object_key,
        settings.ENVIRONMENT.signed_url_seconds,
        filename=_ascii(filename),
        content_type=content_type_of(filename),
    )
    if address is None:
        return None
    headers = {"Location": address, "X-Linked-Size": str(blob.size), "X-Linked-ETag": f'"{entry.etag}"'}
    return HttpResponse(status=302, headers=headers)


def _ascii(filename: str) -> str:
    return "".join(letter if letter.isascii() and letter not in '"\\' else "_" for letter in filename)
