"""What happens to every request before any app sees it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from steelyard_platform.repos.addresses import ENCODED_SLASH

NextHandler = Callable[[HttpRequest], HttpResponseBase]


class EncodedSlashMiddleware:
    """Keeps `%2F` apart from `/` until the URL is matched.

    Hub clients send `/api/models/a/b/tree/refs%2Fpr%2F1/some%2Ffolder`; WSGI servers decode it before Django
    looks. The server's RAW_URI still has the difference. `repos.addresses` turns the mark back into a slash.
    """

    def __init__(self, get_response: NextHandler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        raw_path = request.META.get("RAW_URI", "").partition("?")[0]
        if "%2f" in raw_path.lower():
            marked = raw_path.replace("%2F", ENCODED_SLASH).replace("%2f", ENCODED_SLASH)
            request.path = request.path_info = unquote(marked)
        return self.get_response(request)


class ContentSecurityPolicyMiddleware:
    """Pages load nothing from other hosts and run no inline script; a card cannot smuggle one in."""

    POLICY = (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )

    def __init__(self, get_response: NextHandler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if isinstance(response, HttpResponse) and response.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Security-Policy", self.POLICY)
        return response
