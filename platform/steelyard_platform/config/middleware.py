"""What happens to every request before any app sees it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from steelyard_platform.repos.addresses import ENCODED_SLASH

NextHandler = Callable[[HttpRequest], HttpResponseBase]
_REFUSED_METHOD = 405


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


class RefusedMethodMiddleware:
    """An address of the API that knows other methods than the one that was asked says so as it says all else."""

    def __init__(self, get_response: NextHandler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code == _REFUSED_METHOD and request.path.startswith(("/api/v1/", "/api/device/v1/")):
            allowed = response.headers.get("Allow", "")
            said = f"{request.path} answers {allowed or 'other methods'}, not {request.method}."
            body = {"error": {"code": "method_not_allowed", "message": said, "details": {}}}
            return JsonResponse(body, status=_REFUSED_METHOD, headers={"Allow": allowed})
        return response
