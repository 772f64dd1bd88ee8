"""Who may do what: `may(actor, action, resource)`, pure, and the only place that decides.

An action is allowed when the actor's role in the resource's team allows it *and* the scope of the token that
speaks for the actor allows it. A token with grants (a job's, a device's) has no role at all: it may do exactly
what its grants say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from steelyard_contracts.errors import AuthenticationError, ForbiddenError


class Action(StrEnum):
    SEE = "see"  # that it is there, its card, and the names of its files
    READ = "read"  # its files
    INSPECT = "inspect"  # its files, also those in quarantine; granted to the jobs that look into them, and to no role
    PROPOSE = "propose changes to"  # a branch refs/pr/N of one's own
    WRITE = "write"  # commit, branch, tag, move an unprotected alias
    CREATE = "create repositories in"  # a team
    RUN_JOBS = "run jobs in"
    MANAGE = "manage"  # settings, gates, protected aliases, rename, delete
    OPERATE_FLEET = "operate the fleet of"
    ADMINISTER = "administer"  # members, enrolment, everything else of a team


class Role(StrEnum):
    READER = "reader"
    CONTRIBUTOR = "contributor"
    MAINTAINER = "maintainer"
    ADMINISTRATOR = "administrator"


class Scope(StrEnum):
    """What a token is for. `session` is a person at the dashboard, who has no token."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    WORKER = "worker"
    DEVICE = "device"
    JOB = "job"
    SESSION = "session"
    NONE = "none"


_READING = frozenset({Action.SEE, Action.READ})
_PROPOSING = _READING | {Action.PROPOSE}
_CONTRIBUTING = _PROPOSING | {Action.WRITE, Action.CREATE, Action.RUN_JOBS}
_MAINTAINING = _CONTRIBUTING | {Action.MANAGE, Action.OPERATE_FLEET}
_EVERYTHING = frozenset(Action) - {Action.INSPECT}

ROLE_ALLOWS: Mapping[Role, frozenset[Action]] = {
    Role.READER: _PROPOSING,
    Role.CONTRIBUTOR: _CONTRIBUTING,
    Role.MAINTAINER: _MAINTAINING,
    Role.ADMINISTRATOR: _EVERYTHING,
}
SCOPE_ALLOWS: Mapping[Scope, frozenset[Action]] = {
    Scope.NONE: _READING,  # anonymous: public repositories
    Scope.READ: _READING,
    Scope.WRITE: _MAINTAINING,
    Scope.ADMIN: _EVERYTHING,
    Scope.SESSION: _EVERYTHING,
    Scope.WORKER: frozenset(),  # claims jobs, and reads nothing by itself
    Scope.DEVICE: frozenset(),  # enrols and polls
    Scope.JOB: frozenset(),  # its grants
}


_GRANTED_WITH: Mapping[Action, Action] = {Action.SEE: Action.READ, Action.PROPOSE: Action.WRITE}

# Rows are numbered from 1: an actor without a user, or without a token, has this in its place.
NOBODY = 0


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever speaks in a request: a person, a job, a device, or nobody."""

    name: str = "anonymous"
    user_id: int = NOBODY
    scope: Scope = Scope.NONE
    is_superuser: bool = False
    roles: Mapping[int, Role] = field(default_factory=dict)  # team id -> role
    grants: frozenset[tuple[UUID, Action]] = frozenset()
    token_id: int = NOBODY
    subject: str = ""  # "job:<uuid>" or "device:<uuid>" for tokens of machines

    @property
    def is_anonymous(self) -> bool:
        return self.scope is Scope.NONE

    def subject_id(self, kind: str) -> UUID | None:
        """The job or device this token belongs to, if it is of that kind."""
        prefix, _, identifier = self.subject.partition(":")
        return UUID(identifier) if prefix == kind and identifier else None


ANONYMOUS = Actor()
# The platform itself: what it does of its own accord, such as taking a silent worker's job back.
PLATFORM = Actor(name="steelyard")
# Whoever has a shell on the server: management commands act as this.
OPERATOR = Actor(name="operator", scope=Scope.ADMIN, is_superuser=True)


@dataclass(frozen=True, slots=True)
class Resource:
    """What an action is done to: a team, or one repository of it."""

    team_id: int
    label: str
    repository_id: UUID | None = None
    is_public: bool = False
    is_gated: bool = False  # public to see, its files for those who were let in: see `repos.admission`


def may(actor: Actor, action: Action, resource: Resource) -> bool:
    """The answer to every "may X do Y to Z"."""
    if resource.repository_id is not None and _is_granted(actor, action, resource.repository_id):
        return True
    if action not in SCOPE_ALLOWS[actor.scope]:
        return False
    if resource.is_public and _is_open(actor, action, is_gated=resource.is_gated):
        return True
    if actor.is_superuser and actor.scope in {Scope.ADMIN, Scope.SESSION}:
        return True
    role = actor.roles.get(resource.team_id)
    return role is not None and action in ROLE_ALLOWS[role]


def _is_granted(actor: Actor, action: Action, repository: UUID) -> bool:
    """Whoever may read a repository's files may also see it, and whoever may write to it may propose."""
    return (repository, _GRANTED_WITH.get(action, action)) in actor.grants


def _is_open(actor: Actor, action: Action, *, is_gated: bool) -> bool:
    """What a public repository allows to those who have no role in its team."""
    match action:
        case Action.SEE:
            return True
        case Action.READ:
            return not is_gated
        case Action.PROPOSE:
            return not is_gated and actor.user_id != NOBODY
        case _:
            return False


def demand(actor: Actor, action: Action, resource: Resource) -> None:
    """Raises: AuthenticationError for nobody, ForbiddenError for somebody who may not."""
    if may(actor, action, resource):
        return
    if actor.is_anonymous:
        raise AuthenticationError(f"Sign in or send a token to {action} {resource.label}.")
    raise ForbiddenError(f"{actor.name} may not {action} {resource.label}{_hint(actor, action)}.")


def _hint(actor: Actor, action: Action) -> str:
    if action not in SCOPE_ALLOWS[actor.scope] and actor.scope in {Scope.READ, Scope.WRITE}:
        return f": the token's scope is {actor.scope!s}"
    return ""
