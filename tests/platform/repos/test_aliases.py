"""Names that move: who may move and delete them, and what stays written down."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import (
    ForbiddenError,
    InvalidNameError,
    NotFoundError,
    RevisionNotFoundError,
)
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.models import AliasMove
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.repos.services import create_tag, delete_alias, move_alias, protect_alias
from tests.support.factories import commit_files, make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(owner, team):
    return make_repository(team, owner, "reader")


@pytest.fixture
def contributor(owner, team):
    user = make_user()
    set_role(team=team, username=user.username, role=Role.CONTRIBUTOR, actor=actor_for_user(owner))
    return actor_for_user(user)


def name_it(version, actor, name="production", reason=""):
    return move_alias(version=version, name=name, reason=reason, verdicts=[], actor=actor)


def test_a_deleted_alias_resolves_no_more_and_its_history_stays(model, owner, contributor):
    name_it(commit_files(model, owner, {"w": b"1"}), contributor)
    delete_alias(repository=model, name="production", reason="never used", actor=contributor)
    with pytest.raises(RevisionNotFoundError):
        resolve(model, "production")
    move = AliasMove.objects.latest("pk")
    assert (str(move.from_version), move.to_version, move.reason) == ("v1", None, "never used")
    assert AuditRow.objects.get(action="delete alias").detail == {"alias": "production", "was": "v1"}
    with pytest.raises(NotFoundError, match="has no alias 'production'"):
        delete_alias(repository=model, name="production", reason="", actor=contributor)


def test_a_protected_alias_is_moved_and_deleted_by_maintainers_only(model, owner, contributor):
    version = commit_files(model, owner, {"w": b"1"})
    name_it(version, contributor)
    with pytest.raises(ForbiddenError):
        protect_alias(repository=model, name="production", protected=True, actor=contributor)
    protect_alias(repository=model, name="production", protected=True, actor=actor_for_user(owner))
    with pytest.raises(ForbiddenError, match="may not manage model"):
        name_it(version, contributor)
    with pytest.raises(ForbiddenError, match="may not manage model"):
        delete_alias(repository=model, name="production", reason="", actor=contributor)
    protect_alias(repository=model, name="production", protected=False, actor=actor_for_user(owner))
    name_it(version, contributor)
    with pytest.raises(NotFoundError, match="has no alias 'staging'"):
        protect_alias(repository=model, name="staging", protected=True, actor=actor_for_user(owner))


def test_an_alias_is_a_reference_of_its_own(model, owner):
    version = commit_files(model, owner, {"w": b"1"})
    name_it(version, actor_for_user(owner))
    create_tag(repository=model, name="paper", at=resolve(model), message="", actor=actor_for_user(owner))
    assert resolve(model, "refs/aliases/production").version == version
    assert resolve(model, "refs/tags/paper").version == version
    for wrong in ("refs/aliases/paper", "refs/tags/production", "refs/heads/production"):
        with pytest.raises(RevisionNotFoundError):
            resolve(model, wrong)


@pytest.mark.parametrize("name", ["refs/aliases/x", "v3", "a b", "", "0" * 40, "a/../b"])
def test_no_alias_has_a_name_that_means_something_else(model, owner, name):
    version = commit_files(model, owner, {"w": b"1"})
    with pytest.raises(InvalidNameError):
        name_it(version, actor_for_user(owner), name)


def test_a_reason_is_kept_short_and_printable(model, owner):
    name_it(commit_files(model, owner, {"w": b"1"}), actor_for_user(owner), reason="a\0b" + "x" * 600)
    assert AliasMove.objects.get().reason == "ab" + "x" * 498
