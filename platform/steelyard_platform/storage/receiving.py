"""A request's body as a stream, checked for its end.

WSGI servers hand a body that broke off to the application as if it were whole, and Django hides a chunked
body from it; both are seen to here.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpRequest

from steelyard_contracts.errors import InvalidInputError, TooLargeError
from steelyard_platform.storage.objects import CHUNK


def body_stream(request: HttpRequest) -> Iterator[bytes]:
    """Chunks of at most a megabyte. Raises: InvalidInputError when the body ends before its declared length."""
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        yield from _chunked(request)
        return
    declared, seen = int(request.META.get("CONTENT_LENGTH") or 0), 0
    while seen < declared:
        try:
            chunk = request.read(min(CHUNK, declared - seen))
        except OSError as error:
            raise _broken_off(seen, declared) from error
        if not chunk:
            raise _broken_off(seen, declared)
        seen += len(chunk)
        yield chunk


def lines_of(chunks: Iterator[bytes], *, longest: int) -> Iterator[bytes]:
    """The lines of a stream, without holding more than one. Raises: TooLargeError."""
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        *lines, rest = pending.split(b"\n") if b"\n" in chunk else [pending]
        yield from map(bytes, lines)
        pending = bytearray(rest)
        if len(pending) > longest:
            raise TooLargeError(f"A line is longer than {longest} bytes; upload large files by LFS.")
    if pending.strip():
        yield bytes(pending)


def _chunked(request: HttpRequest) -> Iterator[bytes]:
    source = request.META["wsgi.input"]
    try:
        while chunk := source.read(CHUNK):
            yield chunk
    except OSError as error:
        raise InvalidInputError("The upload broke off; send it again.") from error


def _broken_off(seen: int, declared: int) -> InvalidInputError:
    return InvalidInputError(f"The upload broke off after {seen} of {declared} bytes; send it again.")
