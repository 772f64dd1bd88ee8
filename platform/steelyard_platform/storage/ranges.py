"""Some bytes of an object by a signed address: one range, or several as multipart/byteranges (RFC 9110, 14.6)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

from django.http import FileResponse, HttpRequest, HttpResponseBase, StreamingHttpResponse

from steelyard_contracts.errors import ForbiddenError
from steelyard_platform.storage.delivery import Span
from steelyard_platform.storage.folder import FolderObjectStore

_SPAN = re.compile(r"(\d+)-(\d+)")


def deliver_ranges(request: HttpRequest, store: FolderObjectStore, key: str, *, allowed: str) -> HttpResponseBase:
    """206. Without Range, what the address was signed for. Raises: ForbiddenError for any other byte."""
    signed = _parse(allowed)
    header = request.headers.get("Range", "").replace(" ", "")
    asked = _parse(header.removeprefix("bytes=")) if header else signed
    if len(asked) > len(signed):
        raise ForbiddenError("This address was signed for fewer ranges than are asked for.")
    for span in asked:
        if not any(one.start <= span.start and span.end <= one.end for one in signed):
            raise ForbiddenError("This address was not signed for these bytes.")
    total = store.stat(key).size
    if len(asked) == 1:
        headers = {"Content-Range": _content_range(asked[0], total), "Content-Length": str(asked[0].size)}
        body = store.open(key, asked[0].start, asked[0].end)
        return FileResponse(body, status=206, content_type="application/octet-stream", headers=headers)
    boundary = secrets.token_hex(16)
    content_type = f"multipart/byteranges; boundary={boundary}"
    return StreamingHttpResponse(_parts(store, key, asked, total, boundary), status=206, content_type=content_type)


def _parse(text: str) -> list[Span]:
    spans = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part)
        if match is None or int(match[1]) > int(match[2]):
            raise ForbiddenError(f"{text[:100]!r} is not a list of ranges like 0-99,200-299.")
        spans.append(Span(int(match[1]), int(match[2]) + 1))
    return spans


def _parts(store: FolderObjectStore, key: str, spans: list[Span], total: int, boundary: str) -> Iterator[bytes]:
    for span in spans:
        head = f"--{boundary}\r\nContent-Type: application/octet-stream\r\n"
        yield f"{head}Content-Range: {_content_range(span, total)}\r\n\r\n".encode()
        yield from store.read(key, span.start, span.end)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _content_range(span: Span, total: int) -> str:
    return f"bytes {span.start}-{span.end - 1}/{total}"
