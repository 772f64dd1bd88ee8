"""Expiry: versions that nothing refers to go to the trash by a rule, which says beforehand what it would take."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from steelyard_contracts.errors import ForbiddenError, InvalidInputError, NotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import TrainSpec
from steelyard_platform.accounts.models import AuditRow, Membership
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs.services import request_job
from steelyard_platform.repos import services
from steelyard_platform.repos.expiry import Wanted, expirable, expire_versions, foresee, remove_rule, rule_of, set_rule
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.models import ExpiryRule, TrashItem, Version
from steelyard_platform.repos.proposals import open_proposal
from steelyard_platform.repos.restoring import restore
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.models import Relation
from steelyard_platform.weights.services import add_gate, record_lineage
from tests.platform.hub.test_xet import CHUNKS, Uploader
from tests.platform.repos.test_garbage import GRACE, later
from tests.support.factories import commit_files, empty_trash, make_repository, make_user, picture_dataset

pytestmark = pytest.mark.django_db


@pytest.fixture
def repository(owner, team):
    return make_repository(team, owner, "reader")


@pytest.fixture
def actor(owner):
    return actor_for_user(owner)


def commit(repository, owner, count, branch="main"):
    taken = repository.versions.count()
    return [
        commit_files(repository, owner, {"w": b"%d %s" % (taken + number, branch.encode())}, branch=branch)
        for number in range(count)
    ]


def at(repository, revision):
    version = resolve(repository, revision).version
    assert version is not None
    version.repository = repository
    return version


def left(repository):
    return [f"v{number}" for number in repository.versions.order_by("number").values_list("number", flat=True)]


def expire(repository, actor, keep_last, older_than_days=0):
    set_rule(repository=repository, wanted=Wanted(keep_last, older_than_days), actor=actor)
    return expire_versions()


def test_the_last_so_many_stay_and_the_others_can_be_restored(repository, owner, actor):
    commit(repository, owner, 5)
    assert expire(repository, actor, 2) == 3
    assert left(repository) == ["v4", "v5"]
    assert expire_versions() == 0
    row = AuditRow.objects.get(action="expire versions")
    assert (row.actor, row.detail["versions"]) == ("steelyard", ["v1", "v2", "v3"])
    item = TrashItem.objects.select_related("repository__team").get(version__number=2)
    assert item.deleted_by == "steelyard"
    restore(item=item, actor=actor)
    assert expire_versions() == 0  # somebody wants it
    assert left(repository) == ["v2", "v4", "v5"]


def test_what_is_younger_stays(repository, owner, actor):
    commit(repository, owner, 3)
    with later(24 * 10):
        commit(repository, owner, 1)
        assert expire(repository, actor, 1, older_than_days=11) == 0
        assert expire(repository, actor, 1, older_than_days=10) == 3


def test_whatever_anything_refers_to_stays(repository, owner, team, actor):
    commit(repository, owner, 8)
    services.move_alias(version=at(repository, "v1"), name="production", reason="", verdicts=[], actor=actor)
    services.create_tag(repository=repository, name="best", at=resolve(repository, "v2"), message="", actor=actor)
    services.create_branch(repository=repository, name="side", start=resolve(repository, "v3"), actor=actor)
    record_lineage(
        source=at(repository, "v4"), target=at(repository, "v5"), relation=Relation.FINE_TUNED_FROM, job=None
    )
    dataset = picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    request_job(spec=TrainSpec(dataset=f"{team}/digits", output=f"{team}/other", base=f"{repository}@v6"), actor=actor)
    assert expire(repository, actor, 1) == 2
    assert left(repository) == ["v1", "v2", "v3", "v4", "v6", "v8"]
    commit_files(dataset.repository, owner, {"train/a/0.png": b"another"})
    commit_files(dataset.repository, owner, {"train/a/0.png": b"and another"})
    add_gate(repository=repository, text=f"accuracy >= 0.9 on {team}/digits@v2", applies_to="*", actor=actor)
    # v1 is in a job, v2 in a gate; and what v4 led to is in the trash by now.
    assert expire(dataset.repository, actor, 1) == 1
    assert left(dataset.repository) == ["v1", "v2", "v3"]
    assert left(repository) == ["v1", "v2", "v3", "v6", "v8"]


def test_what_a_branch_is_at_stays_and_every_branch_is_counted_by_itself(repository, owner, actor):
    commit(repository, owner, 2)
    services.create_branch(repository=repository, name="side", start=resolve(repository, "v1"), actor=actor)
    commit(repository, owner, 3, branch="side")
    proposal = open_proposal(repository=repository, title="A change", actor=actor)
    commit(repository, owner, 4, branch=proposal.branch_name)
    assert expire(repository, actor, 2) == 3  # v3 of side, v6 and v7 of the proposal
    assert left(repository) == ["v1", "v2", "v4", "v5", "v8", "v9"]


def test_a_variant_stays_and_goes_with_the_version_it_was_made_from(repository, owner, actor):
    for _ in range(3):
        newest = commit(repository, owner, 1)[0]
        name = f"{newest.label}-onnx-int8"
        start = resolve(repository, newest.label)
        services.create_branch(repository=repository, name=name, start=start, actor=actor, sees_base=False)
        variant = commit(repository, owner, 1, branch=name)[0]
        record_lineage(source=newest, target=variant, relation=Relation.QUANTIZED_FROM, job=None)
    services.create_tag(
        repository=repository, name="kept", at=resolve(repository, "v3-onnx-int8"), message="", actor=actor
    )
    found = foresee(repository, Wanted(1), actor)
    assert (found.versions, found.variants) == (1, 1)
    assert expire(repository, actor, 1) == 2
    assert left(repository) == ["v3", "v4", "v5", "v6"]
    for item in TrashItem.objects.select_related("repository__team").order_by("-pk"):
        restore(item=item, actor=actor)
    assert at(repository, "v1-onnx-int8").branch.base == at(repository, "v1")


def test_the_preview_tells_what_is_freed_in_the_end(client):
    ada = Uploader(client)
    actor = actor_for_user(ada.owner)
    for number in range(4):
        ada.push("w.bin", CHUNKS[0], b"%d" % number * 5000)
    found = foresee(ada.repository, Wanted(1), actor)
    assert found.sentence == f"The rule would expire 3 versions, {found.freed / 1000:.1f} kB."
    assert TrashItem.objects.count() == 0
    assert expire(ada.repository, actor, 1) == 3
    empty_trash(ada.owner)
    with later(24 * 40):
        assert collect_garbage(GRACE).objects.bytes == found.freed
    assert foresee(ada.repository, Wanted(1), actor).sentence == "The rule would expire nothing now."


def test_a_large_backlog_goes_in_batches(repository, owner, actor, monkeypatch):
    monkeypatch.setattr("steelyard_platform.repos.expiry._AT_ONCE", 3)
    commit(repository, owner, 9)
    assert [expire(repository, actor, 1), expire_versions(), expire_versions(), expire_versions()] == [3, 3, 2, 0]
    assert left(repository) == ["v9"]


def test_it_takes_as_many_queries_to_find_one_as_to_find_many(repository, owner, actor):
    """One for each kind of hold that has to be read, whatever there is."""

    def cost():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert expirable(repository, Wanted(1)).count() == repository.versions.count() - 1
        return len(queries) - 1  # the count beside it

    commit(repository, owner, 2)
    few = cost()
    commit(repository, owner, 10)
    assert cost() == few <= 3


def test_a_repository_in_the_trash_is_left_alone(repository, owner, actor):
    commit(repository, owner, 3)
    set_rule(repository=repository, wanted=Wanted(1), actor=actor)
    services.delete_repository(repository=repository, actor=actor)
    assert expire_versions() == 0
    assert Version.objects.count() == 3


def test_who_manages_the_repository_makes_the_rule(repository, owner, team, actor):
    writer = make_user()
    Membership.objects.create(team=team, user=writer, role=Role.CONTRIBUTOR)
    with pytest.raises(ForbiddenError):
        set_rule(repository=repository, wanted=Wanted(3), actor=actor_for_user(writer))
    for wanted in (Wanted(0), Wanted(1, -1), Wanted(10**9)):
        with pytest.raises(InvalidInputError, match="keeps the last 1 to"):
            set_rule(repository=repository, wanted=wanted, actor=actor)
    set_rule(repository=repository, wanted=Wanted(3), actor=actor)
    changed = set_rule(repository=repository, wanted=Wanted(4, 30), actor=actor)
    assert ExpiryRule.objects.get() == changed == rule_of(repository)
    remove_rule(repository=repository, actor=actor)
    with pytest.raises(NotFoundError, match="has no expiry rule"):
        remove_rule(repository=repository, actor=actor)
