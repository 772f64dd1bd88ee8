"""How MLflow speaks: JSON bodies and queries, an error as `error_code` and `message`, tokens for pages."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from steelyard_contracts.errors import (
    AlreadyExistsError,
    AuthenticationError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    StaleParentError,
    SteelyardError,
    TooManyRequestsError,
    UnavailableError,
    unforeseen,
)
from steelyard_platform.accounts.authentication import api_actor

Answer = Mapping[str, Any] | HttpResponseBase
View = Callable[..., HttpResponseBase]
_log = logging.getLogger(__name__)

# Clients try a 500 again and again, so that no refusal may be one.
_CODES: tuple[tuple[type[SteelyardError], str, int], ...] = (
    (AlreadyExistsError, "RESOURCE_ALREADY_EXISTS", 400),
    (ConflictError, "RESOURCE_CONFLICT", 409),
    (StaleParentError, "RESOURCE_CONFLICT", 409),
    (AuthenticationError, "UNAUTHENTICATED", 401),
    (ForbiddenError, "PERMISSION_DENIED", 403),
    (NotFoundError, "RESOURCE_DOES_NOT_EXIST", 404),
    (TooManyRequestsError, "REQUEST_LIMIT_EXCEEDED", 429),
    (UnavailableError, "TEMPORARILY_UNAVAILABLE", 503),
)
_LARGEST_BODY = 16 * 1024 * 1024
_LAST_OFFSET = 2**62


class Asked:
    """What a request says, looked at field by field. Every `Raises:` is an InvalidInputError that names the field."""

    def __init__(self, fields: Mapping[str, Any], *, is_query: bool = False, inside: str = "") -> None:
        self._fields, self._is_query, self._inside = fields, is_query, inside

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        value = self._fields.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._invalid(name, value, "a text")
        return value.replace("\0", "")

    def needed(self, name: str) -> str:
        """A text that must be there and say something."""
        found = self.text(name)
        if not found:
            raise self._missing(name)
        return found

    def present(self, name: str) -> str:
        """A text that must be there, and may be empty."""
        if self._fields.get(name) is None:
            raise self._missing(name)
        return self.text(name)

    def written(self, name: str) -> str:
        """A text that must be there; hand-made requests write a number where clients write its digits."""
        value = self._fields.get(name)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self.needed(name)

    def run_id(self) -> str:
        """Also by its former name."""
        return self.text("run_id") or self.text("run_uuid") or self.needed("run_id")

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number; a text of digits is one too, as protocol buffers write large ones."""
        value = self._fields.get(name)
        if value is None:
            if default is None:
                raise self._missing(name)
            return default
        if isinstance(value, str) and value.strip().lstrip("-").isdigit() and len(value) < 20:  # noqa: PLR2004 - 64 bits
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            raise self._invalid(name, value, "a whole number")
        return value

    def number(self, name: str) -> float:
        """Any number; what is not finite comes as its name."""
        value = self._fields.get(name)
        if value is None:
            raise self._missing(name)
        if isinstance(value, bool):
            raise self._invalid(name, value, "a number")
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise self._invalid(name, value, "a number") from error

    def flag(self, name: str) -> bool:
        return str(self._fields.get(name, "")).lower() in {"1", "true"}

    def texts(self, name: str) -> list[str]:
        value = self._fields.get(name) or []
        if self._is_query and isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._invalid(name, value, "a list of texts")
        return [one.replace("\0", "") for one in value]

    def items(self, name: str) -> list[Asked]:
        value = self._fields.get(name) or []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self._invalid(name, value, "a list of objects")
        return [Asked(one, inside=f"{name}[{number}].") for number, one in enumerate(value)]

    def object(self, name: str) -> dict[str, Any]:
        value = self._fields.get(name) or {}
        if not isinstance(value, dict):
            raise self._invalid(name, value, "an object")
        return value

    def pairs(self, name: str) -> dict[str, str]:
        """A list of `{"key": …, "value": …}`; the last of a key counts."""
        return {one.needed("key"): one.text("value") for one in self.items(name)}

    def _missing(self, name: str) -> InvalidInputError:
        name = self._inside + name
        return InvalidInputError(f"Missing value for required parameter '{name}'.", parameter=name)

    def _invalid(self, name: str, value: Any, expected: str) -> InvalidInputError:
        name = self._inside + name
        shown = json.dumps(value, default=str)[:200]
        return InvalidInputError(f"Invalid value {shown} for parameter '{name}' supplied: {expected} is expected.")


def face(*methods: str, reads_body: bool = True) -> Callable[[Callable[..., Answer]], View]:
    """A view: called with the actor, what is asked, and the parts of the address; a mapping becomes JSON."""

    def decorate(view: Callable[..., Answer]) -> View:
        @csrf_exempt
        @functools.wraps(view)
        def wrapped(request: HttpRequest, **parts: Any) -> HttpResponseBase:
            try:
                answer = view(request, **_introduced(request, methods, reads_body=reads_body), **parts)
            except SteelyardError as error:
                return refusal(error)
            except Exception as error:  # noqa: BLE001 - the border: no traceback reaches a user
                _log.exception("unexpected error in %s %s", request.method, request.path)
                return refusal(unforeseen(error))
            return answer if isinstance(answer, HttpResponseBase) else JsonResponse(answer)

        return wrapped

    return decorate


def refusal(error: SteelyardError) -> JsonResponse:
    for kind, code, status in _CODES:
        if isinstance(error, kind):
            return JsonResponse({"error_code": code, "message": error.message}, status=status)
    return JsonResponse({"error_code": "INVALID_PARAMETER_VALUE", "message": error.message}, status=400)


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponseBase:
    message = f"Steelyard answers no {request.path}; docs/mlflow.md says what it has of MLflow's API."
    return JsonResponse({"error_code": "ENDPOINT_NOT_FOUND", "message": message}, status=404)


def _introduced(request: HttpRequest, methods: Sequence[str], *, reads_body: bool) -> dict[str, Any]:
    """Who asks, and what. Raises: AuthenticationError, InvalidInputError."""
    if request.method not in methods:
        raise InvalidInputError(f"{request.method} is not answered here; send {' or '.join(methods)}.")
    actor = api_actor(request)
    if actor.is_anonymous:
        raise AuthenticationError("Send a Steelyard token: set MLFLOW_TRACKING_TOKEN to it.")
    return {"actor": actor, "asked": _asked(request) if reads_body else Asked({})}


def _asked(request: HttpRequest) -> Asked:
    if request.method == "GET":
        lists = ((name.removesuffix("[]"), values) for name, values in request.GET.lists())
        query = {name: values[0] if len(values) == 1 else values for name, values in lists}
        return Asked(query, is_query=True)
    if int(request.META.get("CONTENT_LENGTH") or 0) > _LARGEST_BODY:
        raise InvalidInputError("The request's body is too large for this call.")
    try:
        found = json.loads(request.body or b"{}")
    except ValueError as error:
        raise InvalidInputError("The request's body is not JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInputError("The request's body must be a JSON object.")
    return Asked(found)


def millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def moment_of(milliseconds: int) -> datetime:
    """Raises: InvalidInputError for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise InvalidInputError(f"{milliseconds} is no time in milliseconds since 1970.") from error


def as_pairs(tags: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"key": key, "value": str(value)} for key, value in tags.items()]


def limit_of(asked: Asked, *, default: int, most: int) -> int:
    limit = asked.whole("max_results", default)
    if not 0 < limit <= most:
        raise InvalidInputError(
            f"Invalid value {limit} for parameter 'max_results' supplied: from 1 to {most}.", parameter="max_results"
        )
    return limit


def offset_of(asked: Asked) -> int:
    """Where the page begins. Raises: InvalidInputError for a token that is none."""
    token = asked.text("page_token")
    if not token:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(token.encode()).decode())
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"{token!r} is no page token of this list; begin again without one.") from error
    if not 0 <= offset <= _LAST_OFFSET:
        raise InvalidInputError(f"{token!r} is no page token of this list; begin again without one.")
    return offset


def token_for(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode()


def absolute(request: HttpRequest, path: str) -> str:
    """An address as the client sees it."""
    if path.startswith(("http://", "https://")):
        return path
    return settings.PUBLIC_URL + path if settings.PUBLIC_URL else request.build_absolute_uri(path)
