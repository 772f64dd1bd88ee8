"""Rewriting what was: squashed branches, and large files taken out of every version."""

from __future__ import annotations

import pytest
from django.conf import settings

from steelyard_contracts.digests import sha256_of
from steelyard_platform.accounts.models import AuditRow, Membership
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import commits, services, tree
from steelyard_platform.repos.blobs import Pack
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.revisions import Snapshot, resolve
from tests.support.factories import commit_files, make_user, token_for

pytestmark = pytest.mark.django_db


def titles(send, repository, revision="main"):
    return [one["title"] for one in send("GET", f"/api/models/{repository}/commits/{revision}").json()]


def paths(repository, revision="main"):
    entries = tree.entries_at(resolve(repository, revision).version)
    return {entry.path: entry.etag for entry in entries}


def squash(send, repository, branch="main", **more):
    return send("POST", f"/api/models/{repository}/super-squash/{branch}", {"message": f"Squash {branch}"}, **more)


def test_a_squashed_branch_has_one_version_and_all_its_files(send, repository, owner):
    for number in range(3):
        commit_files(repository, owner, {"a": str(number).encode(), f"b{number}": b"x"})
    before = paths(repository)
    assert squash(send, repository).status_code == 200
    assert titles(send, repository) == ["Squash main"]
    assert paths(repository) == before
    [version] = Version.objects.filter(repository=repository)
    assert (version.number, version.file_count, version.total_size) == (4, 4, 4)
    commit_files(repository, owner, {"a": b"next"})
    assert titles(send, repository) == ["a commit", "Squash main"]
    assert AuditRow.objects.filter(action="squash", target=str(repository)).count() == 1


def test_what_stands_on_a_version_keeps_it(send, repository, owner):
    actor = actor_for_user(owner)
    first = commit_files(repository, owner, {"a": b"1"})
    services.create_branch(repository=repository, name="side", start=Snapshot(repository, first), actor=actor)
    commit_files(repository, owner, {"b": b"1"}, branch="side")
    second = commit_files(repository, owner, {"a": b"2"})
    services.move_alias(version=second, name="production", reason="", verdicts=[], actor=actor)
    squash(send, repository)
    assert titles(send, repository) == ["Squash main"]
    assert titles(send, repository, "side") == ["a commit", "a commit"]
    assert set(paths(repository, "side")) == {"a", "b"}
    assert resolve(repository, "production").version == second
    assert resolve(repository, first.label).version == first
    refs = send("GET", f"/api/models/{repository}/refs").json()
    assert [branch["name"] for branch in refs["branches"]] == ["side", "main"]


def test_only_whoever_manages_it_squashes_and_only_what_is_there(send, repository, owner):
    commit_files(repository, owner, {"a": b"1"})
    writer = make_user()
    Membership.objects.create(team=repository.team, user=writer, role=Role.CONTRIBUTOR)
    assert squash(send, repository, token=token_for(writer)).status_code == 403
    missing = squash(send, repository, "nothing")
    assert (missing.status_code, missing.headers["X-Error-Code"]) == (404, "RevisionNotFound")


def commit_large(repository, owner, files, branch="main"):
    with Pack() as pack:
        operations: list[commits.Operation] = [
            commits.AddFile(path, pack.add(data), is_lfs=True) for path, data in files.items()
        ]
        pack.store(repository.team)
    return commits.commit(
        repository=repository,
        branch_name=branch,
        operations=operations,
        message=commits.Message("large"),
        actor=actor_for_user(owner),
    )


def listed(send, repository):
    rows = send("GET", f"/api/models/{repository}/lfs-files").json()
    return {row["filename"]: row for row in rows}


def forget(send, repository, *digests, **more):
    body = {"deletions": {"sha": list(digests), "rewriteHistory": True}}
    return send("POST", f"/api/models/{repository}/lfs-files/batch", body, **more)


def test_large_files_are_listed_once_each_wherever_they_are(send, repository, owner):
    commit_files(repository, owner, {"small": b"1"})
    commit_large(repository, owner, {"w.bin": b"weights"})
    start = resolve(repository)
    services.create_branch(repository=repository, name="side", start=start, actor=actor_for_user(owner))
    commit_large(repository, owner, {"copy.bin": b"weights", "other.bin": b"others"}, branch="side")
    rows = listed(send, repository)
    assert set(rows) == {"w.bin", "other.bin"}
    assert (rows["w.bin"]["ref"], rows["other.bin"]["ref"]) == ("refs/heads/main", "refs/heads/side")
    assert rows["w.bin"]["fileOid"] == sha256_of(b"weights")
    assert rows["w.bin"]["size"] == 7


def test_what_is_forgotten_is_in_no_version_and_nothing_older_shows_through(send, repository, owner):
    first = commit_large(repository, owner, {"w.bin": b"first", "keep.bin": b"kept"})
    services.create_branch(
        repository=repository, name="side", start=Snapshot(repository, first), actor=actor_for_user(owner)
    )
    commit_large(repository, owner, {"w.bin": b"second"}, branch="side")
    commit_files(repository, owner, {"small": b"1"})
    assert forget(send, repository, sha256_of(b"second")).status_code == 200
    assert set(paths(repository, "side")) == {"keep.bin"}
    assert set(paths(repository)) == {"keep.bin", "small", "w.bin"}
    assert forget(send, repository, sha256_of(b"first")).status_code == 200
    assert set(paths(repository, first.label)) == {"keep.bin"}
    assert set(listed(send, repository)) == {"keep.bin"}
    for version in Version.objects.filter(repository=repository):
        assert (version.file_count, version.total_size) == tree.measure(version)
    assert send("GET", f"/{repository}/resolve/main/w.bin").headers["X-Error-Code"] == "EntryNotFound"
    commit_large(repository, owner, {"w.bin": b"third"}, branch="side")
    assert set(paths(repository, "side")) == {"keep.bin", "w.bin"}


def test_what_an_alias_stands_on_is_not_forgotten(send, repository, owner):
    version = commit_large(repository, owner, {"w.bin": b"weights"})
    services.move_alias(version=version, name="production", reason="", verdicts=[], actor=actor_for_user(owner))
    answer = forget(send, repository, sha256_of(b"weights"))
    assert (answer.status_code, "which an alias or a release stands on" in answer.json()["error"]) == (409, True)
    assert set(paths(repository)) == {"w.bin"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"deletions": {"sha": "all"}},
        {"deletions": {"sha": ["x"]}},
        {"deletions": {"sha": [], "rewriteHistory": False}},
    ],
)
def test_a_malformed_request_forgets_nothing(send, repository, body):
    assert send("POST", f"/api/models/{repository}/lfs-files/batch", body).status_code == 400


def test_only_whoever_manages_it_forgets(send, repository, owner):
    commit_large(repository, owner, {"w.bin": b"weights"})
    writer = make_user()
    Membership.objects.create(team=repository.team, user=writer, role=Role.CONTRIBUTOR)
    assert forget(send, repository, sha256_of(b"weights"), token=token_for(writer)).status_code == 403


@pytest.mark.parametrize("wanted", [False, True])
def test_a_setting_gives_a_new_repository_the_hubs_first_commit(send, team, monkeypatch, wanted):
    monkeypatch.setattr(settings.ENVIRONMENT, "hub_first_commit", wanted)
    made = send("POST", "/api/repos/create", {"name": "new", "organization": team.name}).json()
    files = send("GET", f"/api/models/{made['name']}/tree/main").json()
    assert [file["path"] for file in files] == ([".gitattributes"] if wanted else [])
    assert titles(send, made["name"]) == (["initial commit"] if wanted else [])
