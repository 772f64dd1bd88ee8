"""From a request to an actor: a bearer token, git's basic form of one, or the dashboard's session."""

from __future__ import annotations

import base64
import binascii

from django.http import HttpRequest

from steelyard_contracts.errors import AuthenticationError
from steelyard_platform.accounts.models import User
from steelyard_platform.accounts.permissions import ANONYMOUS, Actor
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def actor_of(request: HttpRequest) -> Actor:
    """Who speaks in this request.

    Credentials that are sent count; without any, the session does.

    Raises:
        AuthenticationError: credentials that open nothing are an error, never silently anonymous.
    """
    if secret := _secret_in(request):
        return actor_for_secret(secret)
    return page_actor(request)


def page_actor(request: HttpRequest) -> Actor:
    """Who looks at a page: the session's person. A token opens no page, or it could make itself a stronger one."""
    user = getattr(request, "user", None)
    return actor_for_user(user) if isinstance(user, User) and user.is_authenticated else ANONYMOUS


def api_actor(request: HttpRequest) -> Actor:
    """As `actor_of`, for views that no form's origin check protects."""
    if request.method not in _SAFE_METHODS and not _secret_in(request):
        return ANONYMOUS
    return actor_of(request)


def _secret_in(request: HttpRequest) -> str | None:
    scheme, _, value = str(request.META.get("HTTP_AUTHORIZATION", "")).partition(" ")
    match scheme.lower():
        case "":
            return None
        case "bearer" if value.strip():
            return value.strip()
        case "basic":
            return _password_of_basic(value)
        case _:
            raise AuthenticationError("Send the token as 'Authorization: Bearer sy_…'.")


def _password_of_basic(value: str) -> str:
    try:
        _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise AuthenticationError("Invalid credentials in Authorization header") from error
    return password
