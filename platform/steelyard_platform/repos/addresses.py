"""Parts of addresses that every face shares.

Clients write a revision, and a path inside an API, as one segment whose slashes are %2F. WSGI servers decode that
before Django looks, so `config.middleware.EncodedSlashMiddleware` marks such a slash, and the converter here turns the
mark back.
"""

from __future__ import annotations

from django.urls import register_converter

ENCODED_SLASH = "\x1f"


class SegmentConverter:
    """One segment, in which `refs%2Fpr%2F1` is the revision `refs/pr/1`.

    Servers that hide the raw address leave plain slashes; the forms that begin with `refs/` are still told apart.
    """

    regex = "refs/(?:pr|convert|heads|tags)/[^/]+|[^/]+"

    def to_python(self, value: str) -> str:
        return value.replace(ENCODED_SLASH, "/")

    def to_url(self, value: str) -> str:
        return value.replace("/", ENCODED_SLASH)


register_converter(SegmentConverter, "segment")
