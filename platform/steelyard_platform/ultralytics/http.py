"""How this client is spoken to: JSON, and errors as `{"error": "a sentence"}`."""

from __future__ import annotations

import functools
import json
import logging
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from pydantic import ValidationError

from steelyard_contracts.errors import (
    AuthenticationError,
    InvalidInputError,
    SteelyardError,
    TooLargeError,
    unforeseen,
)
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.storage.receiving import body_stream

View = Callable[..., HttpResponseBase]
_LARGEST_BODY = 16 * 1024 * 1024
_log = logging.getLogger(__name__)


class NotHereError(SteelyardError):
    """A part of the client's contract that a registry does not have."""

    code = "not_implemented"
    status = 501


def facade_view(**views: View) -> View:
    """One address: a view for each method, no form's origin check (a token is the proof), errors in one shape."""

    @csrf_exempt
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        view = views.get(str(request.method).lower())
        if view is None:
            return JsonResponse({"error": f"{request.method} is not answered here."}, status=405)
        try:
            return view(request, *args, **kwargs)
        except SteelyardError as error:
            return error_response(error)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"]))
            return error_response(InvalidInputError(f"{place}: {fault['msg']}.", field=place))
        except Exception as error:  # noqa: BLE001 - the border: no traceback reaches a user
            _log.exception("unexpected error in %s %s", request.method, request.path)
            return error_response(unforeseen(error))

    return functools.wraps(next(iter(views.values())))(answer)


def error_response(error: SteelyardError) -> JsonResponse:
    response = JsonResponse({"error": error.message, "code": error.code}, status=error.status)
    response.headers["X-Request-Id"] = uuid.uuid4().hex  # the SDK puts it into its exception
    if isinstance(error, AuthenticationError):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def signed_in(request: HttpRequest) -> Actor:
    """Whoever the token speaks for. Raises: AuthenticationError for nobody."""
    actor = api_actor(request)
    if actor.is_anonymous:
        raise AuthenticationError("Set ULTRALYTICS_API_KEY to a Steelyard token (sy_…) of this server.")
    return actor


def json_body(request: HttpRequest) -> dict[str, Any]:
    """The body, with `NaN` and `Infinity` as numbers. Raises: InvalidInputError, TooLargeError."""
    data = bytearray()
    for chunk in body_stream(request):
        data += chunk
        if len(data) > _LARGEST_BODY:
            raise TooLargeError(f"The request is longer than the {_LARGEST_BODY // 1024**2} MB that are read at once.")
    try:
        found = json.loads(bytes(data) or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("The request's body is not JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInputError("The request's body must be a JSON object.")
    return found


def text_of(body: dict[str, Any], name: str, default: str | None = None) -> str:
    """Raises: InvalidInputError when it is missing, or no text."""
    value = body.get(name, default)
    if value is None or value == "":
        value = default
    if not isinstance(value, str):
        raise InvalidInputError(f"The field {name!r} is missing or not a text.", field=name)
    return value


def absolute(request: HttpRequest, path: str) -> str:
    """An address as the client sees it."""
    if path.startswith(("http://", "https://")):
        return path
    return settings.PUBLIC_URL + path if settings.PUBLIC_URL else request.build_absolute_uri(path)


def limit_of(request: HttpRequest, *, default: int, most: int) -> int:
    """`?limit=` as the SDK sends it. Raises: InvalidInputError."""
    text = request.GET.get("limit", str(default))
    if not (text.isascii() and text.isdigit()):
        raise InvalidInputError(f"'limit' is a number of items, not {text!r}.", field="limit")
    return max(1, min(int(text[:9]), most))
