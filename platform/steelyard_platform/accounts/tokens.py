"""Issuing and reading tokens: `sy_` and 32 random bytes, kept as a SHA-256 only.

A fast hash is right here: 256 random bits cannot be guessed, so there is nothing for a slow one to slow down.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import AuthenticationError, InvalidInputError, TokenExpiredError
from steelyard_platform.accounts.models import Membership, Team, Token, TokenGrant, User
from steelyard_platform.accounts.permissions import NOBODY, Action, Actor, Role, Scope

PREFIX = "sy_"
# `last_used_at` is for people; writing it at every request would make every read a write.
_USE_IS_NOTED_EVERY = timedelta(minutes=10)


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


@transaction.atomic
def issue_token(
    *,
    name: str,
    scope: Scope,
    user: User | None = None,
    team: Team | None = None,
    subject: str = "",
    grants: Iterable[tuple[UUID, Action]] = (),
    valid_for: timedelta | None = None,
    secret: str | None = None,
) -> tuple[Token, str]:
    """Returns the row and the secret, which is never seen again."""
    secret = secret or new_secret()
    if not secret.startswith(PREFIX):
        raise InvalidInputError(f"A token begins with {PREFIX!r}.")
    token = Token.objects.create(
        name=name,
        scope=scope,
        user=user,
        team=team,
        subject=subject,
        digest=sha256_of(secret.encode()),
        hint=secret[:8],
        expires_at=timezone.now() + valid_for if valid_for else None,
    )
    TokenGrant.objects.bulk_create(
        TokenGrant(token=token, repository=repository, action=action) for repository, action in sorted(set(grants))
    )
    return token, secret


def revoke_token(token: Token) -> None:
    """Also drops the grants: a revoked token has nothing left to lose."""
    Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    TokenGrant.objects.filter(token=token).delete()


def retire_token(token: Token, *, known_for: timedelta) -> None:
    """Takes all its rights; for a while longer it still says who asks, so that a repeated last word is understood."""
    Token.objects.filter(pk=token.pk, revoked_at=None).update(expires_at=timezone.now() + known_for)
    TokenGrant.objects.filter(token=token).delete()


def actor_for_secret(secret: str) -> Actor:
    """Whom a token speaks for.

    Raises:
        AuthenticationError: no such token, or revoked.
        TokenExpiredError: it was valid until some time ago.
    """
    return _actor_of(Token.objects.select_related("user").filter(digest=sha256_of(secret.encode())).first())


def actor_for_token(token_id: int) -> Actor:
    """Whom a token speaks for that was shown before, as when an address was signed for it.

    Raises: as `actor_for_secret`.
    """
    return _actor_of(Token.objects.select_related("user").filter(pk=token_id).first())


def _actor_of(token: Token | None) -> Actor:
    if token is None or token.revoked_at is not None or (token.user is not None and not token.user.is_active):
        raise AuthenticationError("Invalid credentials in Authorization header")
    if token.expires_at is not None and token.expires_at <= timezone.now():
        raise TokenExpiredError(
            f"The token {token.name!r} expired on {token.expires_at:%Y-%m-%d %H:%M} UTC; make a new one."
        )
    _note_use(token)
    scope = Scope(token.scope)
    acts_for_person = token.user is not None and scope in {Scope.READ, Scope.WRITE, Scope.ADMIN}
    return Actor(
        name=token.user.username if token.user and acts_for_person else token.name,
        user_id=token.user_id or NOBODY,
        scope=scope,
        is_superuser=bool(acts_for_person and token.user and token.user.is_superuser),
        roles=roles_of(token.user_id, only_team=token.team_id) if acts_for_person and token.user_id else {},
        grants=_grants_of(token) if scope is Scope.JOB else frozenset(),
        token_id=token.pk,
        subject=token.subject,
    )


def actor_for_user(user: User) -> Actor:
    """A person at the dashboard."""
    return Actor(
        name=user.username,
        user_id=user.pk,
        scope=Scope.SESSION,
        is_superuser=user.is_superuser,
        roles=roles_of(user.pk),
    )


def roles_of(user_id: int, *, only_team: int | None = None) -> dict[int, Role]:
    memberships = Membership.objects.filter(user_id=user_id)
    if only_team is not None:
        memberships = memberships.filter(team_id=only_team)
    return {team_id: Role(role) for team_id, role in memberships.values_list("team_id", "role")}


def _grants_of(token: Token) -> frozenset[tuple[UUID, Action]]:
    return frozenset(
        (repository, Action(action)) for repository, action in token.grants.values_list("repository", "action")
    )


def _note_use(token: Token) -> None:
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > _USE_IS_NOTED_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
