"""What all pages share: who looks at them, and how errors look."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from steelyard_contracts.errors import AuthenticationError, NotFoundError, SteelyardError, unforeseen
from steelyard_platform.accounts.authentication import page_actor

View = Callable[..., HttpResponseBase]
_log = logging.getLogger(__name__)
_HTMX_STOP_POLLING = 286


def page(view: View) -> View:
    """A page: errors become pages too, and a stranger who needs to sign in is asked to."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except SteelyardError as error:
            return refuse(request, error)
        except Exception as error:  # noqa: BLE001 - the border: no traceback reaches a user
            _log.exception("unexpected error on the page %s", request.path)
            return refuse(request, unforeseen(error))

    return wrapped


def refuse(request: HttpRequest, error: SteelyardError) -> HttpResponse:
    anonymous = not request.user.is_authenticated
    if anonymous and isinstance(error, AuthenticationError | NotFoundError):
        return HttpResponseRedirect(f"/login?next={quote(request.get_full_path())}")
    context = {"error": error, "status": error.status, "came_from": _page_of_form(request)}
    return render(request, "error.html", context, status=error.status)


def _page_of_form(request: HttpRequest) -> str:
    """Where the form stood that was refused, as the browser says, if that was on this host; else nothing."""
    referer = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure())
    return referer if request.method == "POST" and is_ours else ""


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001 - Django's signature
    return refuse(request, NotFoundError("There is no such page."))


def signed_in(request: HttpRequest) -> None:
    """Raises: AuthenticationError for a stranger."""
    if page_actor(request).is_anonymous:
        raise AuthenticationError("Sign in to see this page.")


def live_partial(request: HttpRequest, template: str, context: dict[str, Any], *, is_final: bool) -> HttpResponse:
    """A part that htmx asks for again and again; the status 286 tells it to stop."""
    return render(request, template, context, status=_HTMX_STOP_POLLING if is_final else 200)
