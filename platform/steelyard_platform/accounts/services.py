"""Writes about people and teams. Each owns its transaction and its audit row."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from steelyard_contracts.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from steelyard_contracts.names import check_namespace
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Membership, Team, User
from steelyard_platform.accounts.permissions import Action, Actor, Role, demand


@transaction.atomic
def create_user(*, username: str, password: str | None, actor: Actor, is_superuser: bool = False) -> User:
    """A person and the team of their own. `password=None`: they can only use tokens.

    Raises: InvalidNameError, AlreadyExistsError, InvalidInputError for a weak password.
    """
    check_namespace(username)
    if Team.objects.filter(name__iexact=username).exists():
        raise AlreadyExistsError(f"The name {username} is taken.", name=username)
    user = User(username=username, is_superuser=is_superuser)
    if password is not None:
        _check_password(password, user)
    user.set_password(password)
    user.save()
    team = Team.objects.create(name=username, is_personal=True)
    Membership.objects.create(team=team, user=user, role=Role.ADMINISTRATOR)
    audit.record(actor, "create user", username)
    return user


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInputError(" ".join(error.messages)) from error


@transaction.atomic
def create_team(*, name: str, owner: User, actor: Actor) -> Team:
    """Raises: InvalidNameError, AlreadyExistsError."""
    check_namespace(name)
    if Team.objects.filter(name__iexact=name).exists():
        raise AlreadyExistsError(f"The name {name} is taken.", name=name)
    team = Team.objects.create(name=name)
    Membership.objects.create(team=team, user=owner, role=Role.ADMINISTRATOR)
    audit.record(actor, "create team", name)
    return team


@transaction.atomic
def set_role(*, team: Team, username: str, role: Role, actor: Actor) -> Membership:
    """Adds a member or changes what they may do. Raises: ForbiddenError, NotFoundError."""
    demand(actor, Action.ADMINISTER, team.resource)
    user = User.objects.filter(username=username).first()
    if user is None:
        raise NotFoundError(f"There is no user {username}.", username=username)
    membership, _ = Membership.objects.update_or_create(team=team, user=user, defaults={"role": role})
    audit.record(actor, "set role", team.name, member=username, role=role)
    return membership


def team_named(name: str) -> Team:
    """Raises: NotFoundError."""
    team = Team.objects.filter(name__iexact=name).first()
    if team is None:
        raise NotFoundError(f"There is no team {name}.", team=name)
    return team
