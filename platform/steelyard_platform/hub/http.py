"""How the Hub speaks: error headers, dates, addresses and pages."""

from __future__ import annotations

import functools
import json
import logging
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from steelyard_contracts.errors import (
    AuthenticationError,
    BeingScannedError,
    EntryNotFoundError,
    GatedError,
    InvalidInputError,
    InvalidPathError,
    QuarantinedError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StaleParentError,
    SteelyardError,
    unforeseen,
)
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.repos.models import Repository

View = Callable[..., HttpResponseBase]
_log = logging.getLogger(__name__)

# The Hub's clients choose an exception class by this header alone.
_ERROR_CODES: dict[type[SteelyardError], str] = {
    RepositoryNotFoundError: "RepoNotFound",
    RevisionNotFoundError: "RevisionNotFound",
    EntryNotFoundError: "EntryNotFound",
    GatedError: "GatedRepo",
    # Clients show the sentence of no other refusal: of any other they say that the connection may be down.
    QuarantinedError: "GatedRepo",
    BeingScannedError: "GatedRepo",
}
# Statuses and sentences that clients compare, where they differ from ours.
_STATUSES: dict[type[SteelyardError], int] = {InvalidPathError: 422}
_STALE = "The branch was updated since you opened this page. Please refresh and try again."
_SMALL_BODY = 16 * 1024 * 1024


def hub_view(*methods: str) -> Callable[[View], View]:
    """A view of the facade: the allowed methods, no form's origin check (a token is the proof), errors as headers."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method not in methods:
                return JsonResponse({"error": f"{request.method} is not answered here."}, status=405)
            try:
                return view(request, *args, **kwargs)
            except SteelyardError as error:
                return error_response(error)
            except Exception as error:  # noqa: BLE001 - the border: no traceback reaches a user
                _log.exception("unexpected error in %s %s", request.method, request.path)
                return error_response(unforeseen(error))

        return wrapped

    return decorate


def error_response(error: SteelyardError) -> JsonResponse:
    message, status = _message_of(error), _STATUSES.get(type(error), error.status)
    response = JsonResponse({"error": message, "code": error.code}, status=status)
    response.headers["X-Request-Id"] = uuid.uuid4().hex  # clients put it into what they show
    response.headers["X-Error-Message"] = _header_text(message)
    response.headers["X-Steelyard-Message"] = _header_text(error.message)  # what our own clients show
    for error_class, code in _ERROR_CODES.items():
        if isinstance(error, error_class):
            response.headers["X-Error-Code"] = code
    if isinstance(error, AuthenticationError):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _message_of(error: SteelyardError) -> str:
    match error:
        case StaleParentError():
            return f"{_STALE} {error.message}"
        case RepositoryNotFoundError():
            # Clients drop the server's sentence when it is this one, and say themselves what to look at.
            return "Repository not found"
        case _:
            return error.message


def _header_text(text: str) -> str:
    return " ".join(text.encode("latin-1", "replace").decode("latin-1").split())


def json_body(request: HttpRequest) -> dict[str, Any]:
    """Raises: InvalidInputError."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > _SMALL_BODY:
        raise InvalidInputError("The request's body is too large for this call.")
    try:
        found = json.loads(request.body or b"{}")
    except ValueError as error:
        raise InvalidInputError("The request's body is not JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInputError("The request's body must be a JSON object.")
    return found


def text_field(body: dict[str, Any], name: str) -> str:
    """Raises: InvalidInputError when it is missing or no text."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInputError(f"The field {name!r} is missing or not a text.", field=name)
    return value


def date(moment: datetime) -> str:
    """The one format that the Hub's clients parse; they insist on the Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def absolute(request: HttpRequest, path: str) -> str:
    """An address as the client sees it; clients compare it with their endpoint."""
    if path.startswith(("http://", "https://")):
        return path
    return settings.PUBLIC_URL + path if settings.PUBLIC_URL else request.build_absolute_uri(path)


def page_response(request: HttpRequest, items: list[Any], cursor: str | None) -> HttpResponse:
    """A bare list, with the address of the next page in `Link`, as the Hub does it."""
    response = JsonResponse(items, safe=False)
    if cursor is not None:
        query = request.GET.copy()
        query["cursor"] = cursor
        pairs = [(key, value) for key, values in query.lists() for value in values]
        path = request.META.get("RAW_URI", request.path).partition("?")[0]
        response.headers["Link"] = f'<{absolute(request, path)}?{urlencode(pairs)}>; rel="next"'
    return response


def flag(request: HttpRequest, name: str) -> bool:
    return request.GET.get(name, "").lower() in {"1", "true"}


def expanded(request: HttpRequest) -> list[str]:
    """The fields that a client asks for by name, in either of the two spellings that are about."""
    return request.GET.getlist("expand") + request.GET.getlist("expand[]")


def kind_of(plural: str) -> RepositoryKind:
    return RepositoryKind(plural.removesuffix("s"))


def page_url(request: HttpRequest, repository: Repository) -> str:
    return absolute(request, repository.page)
