"""Deleting one version: its neighbours keep what they hold, and what only it held is freed."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import ConflictError, ForbiddenError
from steelyard_platform.accounts.models import Membership
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import services, tree
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.models import Branch
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.models import Relation
from steelyard_platform.weights.services import record_lineage
from tests.platform.hub.test_xet import CHUNKS, WHOLE, Uploader, content
from tests.platform.repos.test_garbage import GRACE, later, objects
from tests.support.factories import commit_files, empty_trash, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    return Uploader(client)


@pytest.fixture
def history(ada):
    """Four versions: files come, change, stay, go."""
    for files in (
        {"kept": b"1", "changed": b"1", "removed": b"1", "changed twice": b"1"},
        {"changed": b"2", "removed": None, "new": b"2", "brief": b"2", "changed twice": b"2"},
        {"brief": None, "changed twice": b"3"},
        {"last": b"4"},
    ):
        commit_files(ada.repository, ada.owner, files)
    return ada


def at(uploader, revision):
    version = resolve(uploader.repository, revision).version
    assert version is not None
    return version


def files_at(uploader, revision):
    return dict(tree.entries_at(resolve(uploader.repository, revision).version).values_list("path", "blob"))


def delete(uploader, label, user=None):
    services.delete_version(version=at(uploader, label), actor=actor_for_user(user or uploader.owner))


@pytest.mark.parametrize("label", ["v1", "v2", "v3", "v4"])
def test_every_other_version_keeps_its_files(history, label):
    before = {other: files_at(history, other) for other in ("v1", "v2", "v3", "v4") if other != label}
    delete(history, label)
    assert {other: files_at(history, other) for other in before} == before
    head = max(before)
    assert files_at(history, "main") == before[head]
    assert at(history, "main").label == head


def test_history_goes_on_after_the_newest_is_deleted(history):
    delete(history, "v4")
    after = commit_files(history.repository, history.owner, {"last": b"5"})
    assert (after.label, after.parent) == ("v5", at(history, "v3"))
    delete(history, "v2")
    assert at(history, "v3").parent == at(history, "v1")


def test_a_branch_whose_only_version_is_deleted_is_empty(ada):
    commit_files(ada.repository, ada.owner, {"a": b"1"})
    delete(ada, "v1")
    assert files_at(ada, "main") == {}
    assert Branch.objects.get(repository=ada.repository).head is None


def test_chunks_that_only_it_held_are_freed_and_shared_ones_stay(ada):
    ada.push("w.bin", *CHUNKS)
    ada.push("w.bin", CHUNKS[0], b"another end" * 1000)
    ada.push("w.bin", *CHUNKS)
    assert objects() == ["xorbs", "xorbs"]
    delete(ada, "v2")
    with later():
        assert collect_garbage(GRACE).objects.objects == 0  # it is in the trash
    empty_trash(ada.owner)
    with later():
        assert collect_garbage(GRACE).objects.objects == 1
    assert objects() == ["xorbs"]
    assert content(ada.resolve("w.bin")) == WHOLE


def test_what_something_stands_on_is_kept_and_the_refusal_says_what(history):
    actor = actor_for_user(history.owner)
    first, third = (resolve(history.repository, label) for label in ("v1", "v3"))
    services.create_tag(repository=history.repository, name="best", at=first, message="", actor=actor)
    services.move_alias(version=at(history, "v2"), name="production", reason="", verdicts=[], actor=actor)
    services.create_branch(repository=history.repository, name="side", start=third, actor=actor)
    record_lineage(source=at(history, "v4"), target=at(history, "v1"), relation=Relation.TRAINED_ON, job=None)
    for label, why in (
        ("v1", "tag 'best'"),
        ("v2", "alias 'production'"),
        ("v3", "branch 'side'"),
        ("v4", "made from"),
    ):
        with pytest.raises(ConflictError, match=why):
            delete(history, label)
    assert len(files_at(history, "v4")) == 5


def test_only_who_manages_the_repository_may(history):
    writer = make_user()
    Membership.objects.create(team=history.repository.team, user=writer, role="contributor")
    with pytest.raises(ForbiddenError):
        delete(history, "v1", writer)


def test_the_api_and_the_page_delete_it(history, client):
    headers = {"Authorization": f"Bearer {history.hub_token}"}
    address = f"/api/v1/models/{history.repository}/versions"
    assert client.delete(f"{address}/v2", headers=headers).status_code == 204
    assert client.get(f"{address}/v2", headers=headers).status_code == 404
    client.force_login(history.owner)
    assert "Delete v1" in client.get(f"/{history.repository}/versions/v1").content.decode()
    assert client.post(f"/{history.repository}/versions/v1/delete").status_code == 302
    assert client.get(f"/{history.repository}/versions/v1").status_code == 404
