"""Serving bytes by HTTP: whole, or the one range that was asked for (RFC 9110, section 14).

Django's `FileResponse` ignores Range. Bodies are streamed in chunks of a megabyte and are never compressed,
because clients compare the length with what HEAD said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int  # exclusive

    @property
    def size(self) -> int:
        return self.end - self.start


class RangeUnsatisfiableError(Exception):
    """The range begins behind the end; the answer is 416."""


def parse_range(header: str, size: int) -> Span | None:
    """The span asked for; None for no header, several ranges or another unit: then the whole is served.

    Raises:
        RangeUnsatisfiableError: the range begins behind the end.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= size or end <= start:
        raise RangeUnsatisfiableError
    return Span(start, end)


def deliver(
    request: HttpRequest,
    read: Callable[[int, int], Iterator[bytes]],
    *,
    size: int,
    etag: str,
    content_type: str = "application/octet-stream",
) -> HttpResponseBase:
    """Answers GET and HEAD. `read(start, end)` is called only when a body is due."""
    try:
        span = parse_range(request.META.get("HTTP_RANGE", ""), size)
    except RangeUnsatisfiableError:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    whole = Span(0, size)
    asked = span or whole
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{etag}"', "Content-Length": str(asked.size)}
    if span is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    status = 200 if span is None else 206
    if request.method == "HEAD" or asked.size == 0:
        return HttpResponse(status=status, content_type=content_type, headers=headers)
    body = read(asked.start, asked.end)
    return StreamingHttpResponse(body, status=status, content_type=content_type, headers=headers)
