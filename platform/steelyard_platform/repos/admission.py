"""Gated repositories: anybody who may see one may ask for its files; whoever manages it decides.

    set_gate(repository=…, gate=Gate.MANUAL, actor=…)
    ask_for_access(repository=…, actor=…)
    decide(repository=…, username=…, state=AccessState.ACCEPTED, actor=…)

Whether somebody may read is asked in one place, `repos.queries.find_repository`, by `is_admitted`.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from steelyard_contracts.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import User
from steelyard_platform.accounts.permissions import NOBODY, SCOPE_ALLOWS, Action, Actor, demand, may
from steelyard_platform.accounts.tokens import roles_of
from steelyard_platform.repos.models import AccessRequest, AccessState, Gate, Repository
from steelyard_platform.repos.webhooks import Event, announce

_MAX_FIELDS, _LONGEST_FIELD, _LONGEST_REASON = 50, 2000, 500


def is_admitted(actor: Actor, repository: Repository) -> bool:
    """Whether this person was let in."""
    if actor.user_id == NOBODY:
        return False
    accepted = AccessRequest.objects.filter(repository=repository, user_id=actor.user_id, state=AccessState.ACCEPTED)
    return accepted.exists()


def requests_of(repository: Repository, state: AccessState, actor: Actor) -> QuerySet[AccessRequest]:
    """Raises: ForbiddenError."""
    demand(actor, Action.MANAGE, repository.resource)
    return AccessRequest.objects.filter(repository=repository, state=state).select_related("user")


@transaction.atomic
def set_gate(*, repository: Repository, gate: Gate, actor: Actor) -> None:
    """Requests that were accepted stay so when the gate is taken away and put back. Raises: ForbiddenError."""
    demand(actor, Action.MANAGE, repository.resource)
    repository.gate = gate
    repository.save(update_fields=["gate"])
    audit.record(actor, "set gate", repository.full_name, gate=gate)
    announce(repository, Event("update", "repo.config", config={"gated": gate or False}))


@transaction.atomic
def ask_for_access(*, repository: Repository, actor: Actor, fields: dict[str, Any] | None = None) -> AccessRequest:
    """Raises: ForbiddenError; InvalidInputError where there is no gate; AlreadyExistsError for who has asked before."""
    if actor.user_id == NOBODY or Action.CREATE not in SCOPE_ALLOWS[actor.scope]:
        raise ForbiddenError("Only people ask for access, with a token that may write.")
    _check_gated(repository)
    if may(actor, Action.READ, repository.resource):
        raise AlreadyExistsError(f"You may read {repository.full_name} already.")
    state = AccessState.ACCEPTED if repository.gate == Gate.AUTO else AccessState.PENDING
    request, is_new = AccessRequest.objects.get_or_create(
        repository=repository, user_id=actor.user_id, defaults={"state": state, "fields": _checked(fields or {})}
    )
    if not is_new:
        raise AlreadyExistsError(f"Your request for access to {repository.full_name} is {request.state}.")
    audit.record(actor, "ask for access", repository.full_name, state=state)
    return request


@transaction.atomic
def withdraw(*, repository: Repository, actor: Actor) -> None:
    """Somebody takes their own request back, as long as nobody has decided on it. Raises: NotFoundError."""
    own = AccessRequest.objects.filter(repository=repository, user_id=actor.user_id, state=AccessState.PENDING)
    deleted, _ = own.delete()
    if not deleted:
        raise NotFoundError(f"You have no pending request for access to {repository.full_name}.")
    audit.record(actor, "withdraw access request", repository.full_name)


@transaction.atomic
def decide(*, request: AccessRequest, state: AccessState, actor: Actor, reason: str = "") -> None:
    """Accepts, rejects, or puts a request back to pending. Raises: ForbiddenError, NotFoundError."""
    repository = request.repository
    demand(actor, Action.MANAGE, repository.resource)
    _check_gated(repository)
    request = AccessRequest.objects.select_for_update(of=("self",)).select_related("user").get(pk=request.pk)
    if request.state == state:
        raise NotFoundError(f"The request of {request.user.username} is {state} already.")
    request.state, request.reason = state, reason[:_LONGEST_REASON]
    request.save(update_fields=["state", "reason"])
    audit.record(actor, "decide on access", repository.full_name, user=request.user.username, state=state)


@transaction.atomic
def grant_access(*, repository: Repository, username: str, actor: Actor) -> AccessRequest:
    """Lets somebody in who has not asked, or whose request waits.

    Raises: ForbiddenError; NotFoundError for nobody of that name; ConflictError for who may read already.
    """
    demand(actor, Action.MANAGE, repository.resource)
    _check_gated(repository)
    user = User.objects.filter(username__iexact=username).first()
    if user is None:
        raise NotFoundError(f"There is no user {username}.", username=username)
    request, is_new = AccessRequest.objects.select_for_update(of=("self",)).get_or_create(
        repository=repository, user=user, defaults={"state": AccessState.ACCEPTED, "was_asked_for": False}
    )
    if repository.team_id in roles_of(user.pk) or (not is_new and request.state == AccessState.ACCEPTED):
        raise ConflictError(f"{user.username} may read {repository.full_name} already.")
    request.state, request.reason = AccessState.ACCEPTED, ""
    request.save(update_fields=["state", "reason"])
    audit.record(actor, "grant access", repository.full_name, user=user.username)
    return request


def request_named(repository: Repository, *, username: str = "", number: str = "") -> AccessRequest:
    """By who asked, or by the request's own number. Raises: NotFoundError."""
    rows = AccessRequest.objects.filter(repository=repository).select_related("user", "repository__team")
    rows = rows.filter(user__username__iexact=username) if username else rows.filter(pk=int(number or 0))
    found = rows.first()
    if found is None:
        raise NotFoundError(f"{username or number} has not asked for access to {repository.full_name}.")
    return found


def _check_gated(repository: Repository) -> None:
    if repository.gate == Gate.NONE:
        raise InvalidInputError(f"{repository.full_name} is not gated; nobody needs to ask for it.")


def _checked(fields: dict[str, Any]) -> dict[str, str]:
    if len(fields) > _MAX_FIELDS:
        raise InvalidInputError(f"A request for access takes at most {_MAX_FIELDS} fields.")
    return {str(name)[:_LONGEST_FIELD]: str(value)[:_LONGEST_FIELD] for name, value in fields.items()}
