"""`/api/v1`: who am I, teams, members, tokens and the audit trail."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from steelyard_contracts.errors import AuthenticationError, ForbiddenError, NotFoundError
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.models import AuditRow, Team, Token, User
from steelyard_platform.accounts.permissions import Action, Actor, Role, Scope, demand
from steelyard_platform.accounts.services import create_team, set_role, team_named
from steelyard_platform.accounts.tokens import issue_token, revoke_token
from steelyard_platform.api.paging import Page
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of

router = Router(tags=["accounts"])


class WhoAmI(Schema):
    name: str
    scope: str
    teams: dict[str, str] = Field(description="The role in each team.")


class TeamRequest(Schema):
    name: str


class RoleRequest(Schema):
    role: Role


class TokenRequest(Schema):
    name: str = Field(max_length=100)
    scope: Literal["read", "write", "admin", "worker"]
    days: int | None = Field(None, ge=1, le=3650, description="Days until it expires; null: never.")


class TokenView(Schema):
    id: int
    name: str
    hint: str
    scope: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked: bool


class IssuedToken(Schema):
    token: str = Field(description="Shown this once.")
    view: TokenView


class AuditView(Schema):
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


@router.get("/whoami", response=WhoAmI)
def whoami(request: HttpRequest) -> WhoAmI:
    """Whom the token speaks for, and their role in each team."""
    actor = api_actor(request)
    if actor.is_anonymous:
        raise AuthenticationError("Send a token: Authorization: Bearer sy_…")
    names = dict(Team.objects.filter(pk__in=list(actor.roles)).values_list("pk", "name"))
    return WhoAmI(name=actor.name, scope=actor.scope, teams={names[pk]: role for pk, role in actor.roles.items()})


@router.post("/teams", response={201: TeamRequest})
def add_team(request: HttpRequest, body: TeamRequest) -> Status[TeamRequest]:
    """Makes a team, with the caller as its administrator."""
    actor = api_actor(request)
    team = create_team(name=body.name, owner=_person(actor, Scope.WRITE), actor=actor)
    return Status(201, TeamRequest(name=team.name))


@router.put("/teams/{team}/members/{username}", response=RoleRequest)
def put_member(request: HttpRequest, team: str, username: str, body: RoleRequest) -> RoleRequest:
    """Adds a member, or changes what they may do."""
    membership = set_role(team=team_named(team), username=username, role=body.role, actor=api_actor(request))
    return RoleRequest(role=Role(membership.role))


@router.get("/teams/{team}/audit", response=Page[AuditView])
def list_audit(
    request: HttpRequest, team: str, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    """Every write in the team, newest first. For its administrators."""
    found = team_named(team)
    demand(api_actor(request), Action.ADMINISTER, found.resource)
    prefix = f"{found.name}/"
    rows = AuditRow.objects.filter(target=found.name) | AuditRow.objects.filter(target__startswith=prefix)
    items, following = page_of(rows, field="at", cursor=cursor, limit=limit)
    return {"items": items, "next": following}


@router.get("/tokens", response=Page[TokenView])
def list_tokens(request: HttpRequest, cursor: str | None = None, limit: int = DEFAULT_LIMIT) -> dict[str, Any]:
    """The caller's own tokens; never their secrets."""
    owner = _person(api_actor(request), Scope.READ)
    rows, following = page_of(Token.objects.filter(user=owner), field="created_at", cursor=cursor, limit=limit)
    return {"items": [_view(row) for row in rows], "next": following}


@router.post("/tokens", response={201: IssuedToken})
def add_token(request: HttpRequest, body: TokenRequest) -> Status[IssuedToken]:
    """Makes a token for the caller. A token can make others only with the scope `admin`."""
    actor = api_actor(request)
    owner = _person(actor, Scope.ADMIN)
    if Scope(body.scope) is Scope.WORKER and not owner.is_superuser:
        raise ForbiddenError("Only an administrator of the installation makes workers' tokens.")
    lifetime = timedelta(days=body.days) if body.days else None
    token, secret = issue_token(name=body.name, scope=Scope(body.scope), user=owner, valid_for=lifetime)
    audit.record(actor, "issue token", owner.username, name=body.name, scope=body.scope)
    return Status(201, IssuedToken(token=secret, view=_view(token)))


@router.delete("/tokens/{token_id}", response={204: None})
def delete_token(request: HttpRequest, token_id: int) -> Status[None]:
    """Revokes one of the caller's tokens, at once."""
    actor = api_actor(request)
    owner = _person(actor, Scope.ADMIN)
    token = Token.objects.filter(pk=token_id, user=owner).first()
    if token is None:
        raise NotFoundError(f"You have no token {token_id}.")
    revoke_token(token)
    audit.record(actor, "revoke token", owner.username, name=token.name)
    return Status(204, None)


_ORDER = [Scope.READ, Scope.WRITE, Scope.ADMIN, Scope.SESSION]


def _person(actor: Actor, least: Scope) -> User:
    """The person behind the token, if it is strong enough. Raises: AuthenticationError, ForbiddenError."""
    if actor.is_anonymous:
        raise AuthenticationError("Send a token: Authorization: Bearer sy_…")
    if actor.scope not in _ORDER or _ORDER.index(actor.scope) < _ORDER.index(least) or not actor.user_id:
        raise ForbiddenError(f"This needs a person's token of the scope {least}; this one's is {actor.scope}.")
    return User.objects.get(pk=actor.user_id)


def _view(token: Token) -> TokenView:
    return TokenView(
        id=token.pk,
        name=token.name,
        hint=token.hint,
        scope=token.scope,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked=token.revoked_at is not None,
    )
