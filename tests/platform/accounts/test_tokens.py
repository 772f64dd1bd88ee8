"""Tokens: shown once, kept as hashes, dead when revoked or expired."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from steelyard_contracts.errors import AlreadyExistsError, AuthenticationError, InvalidNameError, TokenExpiredError
from steelyard_platform.accounts.models import AuditRow, Token
from steelyard_platform.accounts.permissions import OPERATOR, Action, Role, Scope
from steelyard_platform.accounts.services import create_user, set_role
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user, issue_token, revoke_token
from tests.support.factories import make_team, make_user

pytestmark = pytest.mark.django_db


def test_a_token_speaks_for_its_owner_and_is_kept_as_a_hash_only():
    user = make_user()
    token, secret = issue_token(name="laptop", scope=Scope.WRITE, user=user)
    assert actor_for_secret(secret).name == user.username
    assert secret.startswith("sy_")
    assert secret not in str(Token.objects.filter(pk=token.pk).values())


@pytest.mark.parametrize("secret", ["", "sy_nonsense", "hf_abc"])
def test_a_wrong_token_opens_nothing(secret):
    with pytest.raises(AuthenticationError, match="Invalid credentials"):
        actor_for_secret(secret)


def test_a_revoked_token_opens_nothing():
    token, secret = issue_token(name="laptop", scope=Scope.WRITE, user=make_user())
    revoke_token(token)
    with pytest.raises(AuthenticationError):
        actor_for_secret(secret)


def test_an_expired_token_says_so():
    _, secret = issue_token(name="laptop", scope=Scope.WRITE, user=make_user(), valid_for=timedelta(days=1))
    with time_machine.travel(timezone.now() + timedelta(days=2)), pytest.raises(TokenExpiredError, match="expired on"):
        actor_for_secret(secret)


def test_a_token_of_a_person_who_left_opens_nothing():
    user = make_user()
    _, secret = issue_token(name="laptop", scope=Scope.WRITE, user=user)
    user.is_active = False
    user.save()
    with pytest.raises(AuthenticationError):
        actor_for_secret(secret)


def test_names_are_unique_whatever_their_case_and_reserved_ones_refused():
    make_user("Grace")
    with pytest.raises(AlreadyExistsError, match="The name grace is taken"):
        create_user(username="grace", password=None, actor=OPERATOR)
    with pytest.raises(InvalidNameError):
        create_user(username="api", password=None, actor=OPERATOR)


def test_roles_are_set_by_administrators_and_audited():
    owner, other = make_user(), make_user()
    team = make_team(owner)
    set_role(team=team, username=other.username, role=Role.READER, actor=actor_for_user(owner))
    assert actor_for_user(other).roles[team.pk] is Role.READER
    row = AuditRow.objects.get(action="set role")
    assert (row.actor, row.target, row.detail["member"]) == (owner.username, team.name, other.username)


def test_a_tokens_grants_are_its_rights_and_end_with_it():
    import uuid

    repository = uuid.uuid4()
    token, secret = issue_token(name="job", scope=Scope.JOB, subject="job:x", grants=[(repository, Action.READ)])
    assert actor_for_secret(secret).grants == {(repository, Action.READ)}
    revoke_token(token)
    assert not token.grants.exists()
