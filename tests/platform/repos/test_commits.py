"""Versions: immutable, numbered, atomic; a commit costs what it changes."""

from __future__ import annotations

import hypothesis
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import strategies as st

from steelyard_contracts.errors import (
    AlreadyExistsError,
    BlobMissingError,
    EntryNotFoundError,
    InvalidInputError,
    InvalidPathError,
    RevisionNotFoundError,
    StaleParentError,
)
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import commits, services, tree
from steelyard_platform.repos.blobs import Pack, read_blob
from steelyard_platform.repos.models import Entry, Version
from steelyard_platform.repos.revisions import Snapshot, resolve
from tests.support.factories import commit_files, make_repository, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def repository(owner):
    return make_repository(make_team(owner), owner)


def files_at(repository, revision):
    entries = tree.entries_at(resolve(repository, revision).version)
    return {entry.path: b"".join(read_blob(entry.blob)) for entry in entries if entry.blob}


def test_every_version_keeps_its_files(repository, owner):
    commit_files(repository, owner, {"a.txt": b"1", "b/c.txt": b"2"})
    commit_files(repository, owner, {"a.txt": b"changed", "b/c.txt": None, "d.txt": b"3"})
    assert files_at(repository, "v1") == {"a.txt": b"1", "b/c.txt": b"2"}
    assert files_at(repository, "v2") == files_at(repository, "main") == {"a.txt": b"changed", "d.txt": b"3"}


def test_versions_are_numbered_and_named_by_forty_hex_digits(repository, owner):
    first = commit_files(repository, owner, {"a": b"1"})
    second = commit_files(repository, owner, {"a": b"2"})
    assert (first.label, second.label, second.parent) == ("v1", "v2", first)
    assert len(second.commit_id) == 40
    assert resolve(repository, first.commit_id).version == first
    assert (second.file_count, second.total_size) == (1, 1)


def test_a_commit_that_changes_nothing_makes_no_version(repository, owner):
    first = commit_files(repository, owner, {"a": b"1"})
    assert commit_files(repository, owner, {"a": b"1"}) == first
    assert Version.objects.filter(repository=repository).count() == 1


def test_the_second_of_two_commits_on_one_parent_gets_a_clear_conflict(repository, owner):
    parent = commit_files(repository, owner, {"a": b"1"}).commit_id
    commit_files(repository, owner, {"a": b"2"}, parent=parent)
    with pytest.raises(StaleParentError, match="has moved on: its head is"):
        commit_files(repository, owner, {"a": b"3"}, parent=parent)
    assert files_at(repository, "main") == {"a": b"2"}


def test_without_a_parent_only_a_change_to_the_same_path_conflicts(repository, owner):
    seen = commit_files(repository, owner, {"a": b"1", "b": b"1"})
    commit_files(repository, owner, {"a": b"2"})
    request = {"repository": repository, "branch_name": "main", "message": commits.Message("x"), "seen": seen.number}
    actor = actor_for_user(owner)
    with pytest.raises(StaleParentError, match="Another commit has changed 'a' meanwhile"):
        commits.commit(operations=[commits.DeleteFile("a")], actor=actor, **request)
    assert commits.commit(operations=[commits.DeleteFile("b")], actor=actor, **request) is not None


def test_of_two_first_commits_to_one_path_the_second_conflicts(repository, owner):
    commit_files(repository, owner, {"model": b"1"})
    with Pack() as pack:
        add = commits.AddFile("model", pack.add(b"2"), is_lfs=False)
        pack.store(repository.team)
    with pytest.raises(StaleParentError):
        commits.commit(
            repository=repository,
            branch_name="main",
            operations=[add],
            message=commits.Message("x"),
            actor=actor_for_user(owner),
            seen=0,
        )


def test_bytes_that_nobody_uploaded_cannot_be_committed(repository, owner):
    add = commits.AddFile("model.bin", "0" * 64, is_lfs=True)
    with pytest.raises(BlobMissingError, match="'model.bin' was never uploaded here; upload it, then commit"):
        commits.commit(
            repository=repository,
            branch_name="main",
            operations=[add],
            message=commits.Message("x"),
            actor=actor_for_user(owner),
        )
    assert not Version.objects.filter(repository=repository).exists()


def test_another_teams_bytes_cannot_be_claimed_by_their_digest(repository, owner):
    commit_files(repository, owner, {"secret": b"months of training"})
    stranger = make_user()
    theirs = make_repository(make_team(stranger), stranger)
    digest = str(Entry.objects.get(path="secret").blob_id)
    with pytest.raises(BlobMissingError):
        commits.commit(
            repository=theirs,
            branch_name="main",
            operations=[commits.AddFile("copy", digest, is_lfs=True)],
            message=commits.Message("x"),
            actor=actor_for_user(stranger),
        )


@pytest.mark.parametrize("path", ["../a", "a\x00", "/a", ".git/config"])
def test_a_bad_path_is_refused_and_nothing_is_written(repository, owner, path):
    with pytest.raises(InvalidPathError):
        commit_files(repository, owner, {"fine": b"1", path: b"2"})
    assert not Version.objects.filter(repository=repository).exists()


def test_a_path_cannot_be_a_file_and_a_folder(repository, owner):
    with pytest.raises(InvalidInputError, match="'a' cannot be a file and a folder"):
        commit_files(repository, owner, {"a": b"1", "a/b": b"2"})


def test_a_later_commit_cannot_make_a_file_a_folder_either(repository, owner):
    commit_files(repository, owner, {"a": b"1", "b/c": b"1"})
    with pytest.raises(InvalidInputError, match="'a' is a file; nothing can lie below it"):
        commit_files(repository, owner, {"a/x": b"2"})
    with pytest.raises(InvalidInputError, match="A folder with 'b/c' is there; it cannot become a file"):
        commit_files(repository, owner, {"b": b"2"})
    commit_files(repository, owner, {"a": None, "a/x": b"2"})
    assert files_at(repository, "main") == {"a/x": b"2", "b/c": b"1"}


def test_one_name_has_one_meaning(repository, owner):
    actor = actor_for_user(owner)
    version = commit_files(repository, owner, {"a": b"1"})
    with pytest.raises(AlreadyExistsError, match="already has 'main' as a branch"):
        services.move_alias(version=version, name="main", reason="", verdicts=[], actor=actor)
    services.move_alias(version=version, name="production", reason="", verdicts=[], actor=actor)
    with pytest.raises(AlreadyExistsError, match="already has 'production' as an alias"):
        services.create_branch(repository=repository, name="production", start=None, actor=actor)


def test_a_branch_may_be_called_like_a_tag_and_both_are_reached(repository, owner):
    actor = actor_for_user(owner)
    first = commit_files(repository, owner, {"a": b"1"})
    services.create_tag(repository=repository, name="v-one", at=Snapshot(repository, first), message="", actor=actor)
    services.create_branch(repository=repository, name="v-one", start=Snapshot(repository, first), actor=actor)
    on_branch = commit_files(repository, owner, {"a": b"2"}, branch="v-one")
    assert resolve(repository, "v-one").version == first
    assert resolve(repository, "refs/tags/v-one").version == first
    assert resolve(repository, "refs/heads/v-one").version == on_branch


def test_a_repository_can_be_moved_onto_its_own_name(repository, owner):
    actor = actor_for_user(owner)
    for name in ("thing", "Thing", "thing", "other", "thing"):
        services.move_repository(repository=repository, team=repository.team, name=name, actor=actor)
    assert repository.name == "thing"


def test_deleting_what_is_not_there_is_said(repository, owner):
    commit_files(repository, owner, {"a": b"1"})
    with pytest.raises(EntryNotFoundError, match="A file with this name doesn't exist: 'b'"):
        commit_files(repository, owner, {"b": None})


def test_a_side_branch_shows_its_base_until_it_says_otherwise(repository, owner):
    commit_files(repository, owner, {"a": b"1", "b": b"1"})
    services.create_branch(
        repository=repository, name="side", start=resolve(repository, "main"), actor=actor_for_user(owner)
    )
    assert files_at(repository, "side") == {"a": b"1", "b": b"1"}
    commit_files(repository, owner, {"a": b"2", "b": None, "c": b"3"}, branch="side")
    commit_files(repository, owner, {"a": b"main moves on"})
    assert files_at(repository, "side") == {"a": b"2", "c": b"3"}
    assert files_at(repository, "main") == {"a": b"main moves on", "b": b"1"}
    commit_files(repository, owner, {"b": b"back"}, branch="side")
    assert files_at(repository, "side")["b"] == b"back"
    assert files_at(repository, "v2") == {"a": b"2", "c": b"3"}


def test_a_variants_branch_begins_empty_but_knows_where_it_came_from(repository, owner):
    base = commit_files(repository, owner, {"model.safetensors": b"1"})
    services.create_branch(
        repository=repository,
        name="v1-onnx",
        start=resolve(repository, "v1"),
        sees_base=False,
        actor=actor_for_user(owner),
    )
    version = commit_files(repository, owner, {"model.onnx": b"2"}, branch="v1-onnx")
    assert files_at(repository, "v1-onnx") == {"model.onnx": b"2"}
    assert version.branch.base == base


def test_revisions_resolve_by_id_number_alias_tag_and_branch(repository, owner):
    actor = actor_for_user(owner)
    first = commit_files(repository, owner, {"a": b"1"})
    second = commit_files(repository, owner, {"a": b"2"})
    services.move_alias(version=first, name="production", reason="", verdicts=[], actor=actor)
    services.create_tag(repository=repository, name="paper", at=resolve(repository, "v1"), message="", actor=actor)
    named = {"v1": first, "production": first, "paper": first, "main": second, "refs/heads/main": second}
    for revision, version in named.items():
        assert resolve(repository, revision).version == version
    with pytest.raises(RevisionNotFoundError, match="has no revision 'v9'"):
        resolve(repository, "v9")


def test_a_commit_asks_the_database_no_more_on_a_large_repository(repository, owner):
    def queries(files):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            commit_files(repository, owner, files)
        return len(captured)

    commit_files(repository, owner, {"x": b"0"})
    small = queries({"a": b"1", "b": b"1", "c": b"1"})
    commit_files(repository, owner, {f"many/{n:05}.txt": str(n).encode() for n in range(3000)})
    assert queries({"a": b"2", "b": b"2", "c": b"2"}) <= small


_PATHS = st.sampled_from(["a", "b", "c/d", "c/e"])
_STEP = st.dictionaries(_PATHS, st.one_of(st.none(), st.binary(min_size=1, max_size=2)), min_size=1)


@hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(steps=st.lists(_STEP, min_size=1, max_size=6))
def test_any_history_reads_back_as_it_was_written(owner, steps):
    repository = make_repository(make_team(owner), owner)
    model: dict[str, bytes] = {}
    history = {}
    for step in steps:
        wanted = {path: data for path, data in step.items() if data is not None or path in model}
        if not wanted:
            continue
        version = commit_files(repository, owner, wanted)
        model = {path: data for path, data in {**model, **wanted}.items() if data is not None}
        history[version.label] = dict(model)
    for label, files in history.items():
        assert files_at(repository, label) == files
