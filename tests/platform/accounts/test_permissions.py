"""Who may do what to which."""

from __future__ import annotations

from uuid import uuid4

import pytest

from steelyard_contracts.errors import AuthenticationError, ForbiddenError
from steelyard_platform.accounts.permissions import ANONYMOUS, Action, Actor, Resource, Role, Scope, demand, may

TEAM, OTHER_TEAM = 1, 2
REPOSITORY = uuid4()
PRIVATE = Resource(team_id=TEAM, label="model a/b", repository_id=REPOSITORY)
PUBLIC = Resource(team_id=TEAM, label="model a/b", repository_id=REPOSITORY, is_public=True)
GATED = Resource(team_id=TEAM, label="model a/b", repository_id=REPOSITORY, is_public=True, is_gated=True)
READING = {Action.SEE, Action.READ}


def person(role, scope=Scope.SESSION, team=TEAM):
    return Actor(name="ada", user_id=1, scope=scope, roles={team: role})


def test_a_stranger_reads_public_things_only():
    assert may(ANONYMOUS, Action.READ, PUBLIC)
    assert not may(ANONYMOUS, Action.READ, PRIVATE)
    assert not may(ANONYMOUS, Action.WRITE, PUBLIC)


def test_a_gate_shuts_the_files_and_leaves_the_rest_to_see():
    stranger = person(Role.ADMINISTRATOR, team=OTHER_TEAM)
    assert {action for action in Action if may(stranger, action, PUBLIC)} == READING | {Action.PROPOSE}
    assert {action for action in Action if may(stranger, action, GATED)} == {Action.SEE}
    assert {action for action in Action if may(ANONYMOUS, action, PUBLIC)} == READING
    assert {action for action in Action if may(person(Role.READER), action, GATED)} == READING | {Action.PROPOSE}
    machine = Actor(name="machine", scope=Scope.WRITE)
    assert not may(machine, Action.PROPOSE, PUBLIC)


@pytest.mark.parametrize(
    ("role", "most"),
    [
        (Role.READER, READING | {Action.PROPOSE}),
        (Role.CONTRIBUTOR, READING | {Action.PROPOSE, Action.WRITE, Action.CREATE, Action.RUN_JOBS}),
        (Role.MAINTAINER, set(Action) - {Action.ADMINISTER, Action.INSPECT}),
        (Role.ADMINISTRATOR, set(Action) - {Action.INSPECT}),
    ],
)
def test_roles_allow_what_they_say(role, most):
    assert {action for action in Action if may(person(role), action, PRIVATE)} == most


def test_a_role_in_one_team_is_none_in_another():
    assert not any(may(person(Role.ADMINISTRATOR, team=OTHER_TEAM), action, PRIVATE) for action in Action)


def test_a_token_never_does_more_than_its_scope():
    reader = person(Role.ADMINISTRATOR, Scope.READ)
    assert {action for action in Action if may(reader, action, PRIVATE)} == READING


@pytest.mark.parametrize("scope", [Scope.WORKER, Scope.DEVICE, Scope.JOB])
def test_machines_may_nothing_by_themselves(scope):
    machine = Actor(name="machine", scope=scope, roles={TEAM: Role.ADMINISTRATOR})
    assert not any(may(machine, action, PUBLIC) for action in Action)


def test_a_jobs_token_does_exactly_what_its_grants_say():
    job = Actor(name="job", scope=Scope.JOB, grants=frozenset({(REPOSITORY, Action.READ)}))
    assert {action for action in Action if may(job, action, PRIVATE)} == READING
    elsewhere = Resource(team_id=TEAM, label="model a/c", repository_id=uuid4(), is_public=True)
    assert not may(job, Action.READ, elsewhere)


def test_refusals_say_who_and_what():
    with pytest.raises(AuthenticationError, match="Sign in or send a token to write model a/b"):
        demand(ANONYMOUS, Action.WRITE, PUBLIC)
    with pytest.raises(ForbiddenError, match="ada may not write model a/b: the token's scope is read"):
        demand(person(Role.ADMINISTRATOR, Scope.READ), Action.WRITE, PRIVATE)
