"""Uploads whose length is said twice.

Some clients hand a body to `requests` as a stream and name its length as well. Then both `Content-Length` and
`Transfer-Encoding: chunked` are sent, and the bytes come plain. gunicorn refuses such a request, rightly: whoever
stands in between may cut it elsewhere, and hide a second request in the first. Releases of Ultralytics upload their
checkpoints so. At that one address, which is its own credential, the length counts, and the connection ends with the
answer, so that nothing can hide behind the body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

UPLOADS = "/ultralytics/uploads/"
_LENGTH, _ENCODING = "CONTENT-LENGTH", "TRANSFER-ENCODING"


def take_the_length(request: Any) -> None:
    """Of a gunicorn request whose headers were read. Every other request stays as it is."""
    said = dict(request.headers)
    is_double = said.get(_ENCODING, "").strip().lower() == "chunked" and said.get(_LENGTH, "").isdigit()
    if is_double and request.uri.startswith(UPLOADS):
        request.headers = [header for header in request.headers if header[0] != _ENCODING]
        request.force_close()


def mend(request_class: Any) -> None:
    """Has gunicorn's requests ask first. Twice is the same as once."""
    as_it_was: Callable[[Any], None] = request_class.set_body_reader
    if getattr(as_it_was, "is_mended", False):
        return

    def set_body_reader(request: Any) -> None:
        take_the_length(request)
        as_it_was(request)

    set_body_reader.is_mended = True  # type: ignore[attr-defined]
    request_class.set_body_reader = set_body_reader
