"""Signing in and out, and one's own tokens."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth import authenticate, login, logout
from django.core.cache import cache
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.models import Token, User
from steelyard_platform.accounts.permissions import Scope
from steelyard_platform.accounts.tokens import issue_token, revoke_token
from steelyard_platform.pages.rendering import page, signed_in

_TRIES, _PAUSE_SECONDS = 10, 300
_SCOPES = (Scope.READ, Scope.WRITE, Scope.ADMIN)
_SHOWN = 100


@page
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponseBase:
    following = request.POST.get("next") or request.GET.get("next") or "/"
    if not url_has_allowed_host_and_scheme(following, allowed_hosts={request.get_host()}):
        following = "/"
    error = ""
    if request.method == "POST":
        username = request.POST.get("username", "")
        tries_key = f"sign-in:{username.lower()[:96]}:{request.META.get('REMOTE_ADDR')}"
        if cache.get(tries_key, 0) >= _TRIES:
            error = "Too many tries. Wait five minutes, then try again."
        else:
            user = authenticate(request, username=username, password=request.POST.get("password", ""))
            if user is not None:
                login(request, user)
                cache.delete(tries_key)
                return HttpResponseRedirect(following)
            cache.set(tries_key, cache.get(tries_key, 0) + 1, _PAUSE_SECONDS)
            error = "That name and password do not belong together."
    return render(request, "login.html", {"next": following, "error": error}, status=401 if error else 200)


@page
@require_POST
def sign_out(request: HttpRequest) -> HttpResponseBase:
    logout(request)
    return HttpResponseRedirect("/login")


@page
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest) -> HttpResponseBase:
    """The list, and a new token's secret, this once."""
    signed_in(request)
    secret = _make(request) if request.method == "POST" else None
    mine = Token.objects.filter(user_id=page_actor(request).user_id, revoked_at=None).order_by("-created_at")[:_SHOWN]
    return render(request, "tokens.html", {"tokens": mine, "secret": secret, "scopes": _SCOPES})


def _make(request: HttpRequest) -> str:
    scope = request.POST.get("scope", "")
    if scope not in _SCOPES:
        raise InvalidInputError(f"A token's scope is one of {', '.join(_SCOPES)}.")
    name = request.POST.get("name", "").strip()[:100] or "token"
    days = request.POST.get("days", "")
    valid_for = timedelta(days=min(int(days), 3650)) if days.isdigit() and int(days) else None
    _, secret = issue_token(
        name=name, scope=Scope(scope), user=User.objects.get(pk=page_actor(request).user_id), valid_for=valid_for
    )
    audit.record(page_actor(request), "issue token", str(request.user), name=name, scope=scope)
    return secret


@page
@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponseBase:
    signed_in(request)
    token = Token.objects.filter(pk=token_id, user_id=page_actor(request).user_id).first()
    if token is None:
        raise NotFoundError("You have no such token.")
    revoke_token(token)
    audit.record(page_actor(request), "revoke token", str(request.user), name=token.name)
    return HttpResponseRedirect("/settings/tokens")
