"""Sentences, fields and small habits that the Hub's clients rely on."""

from __future__ import annotations

import pytest

from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import services
from steelyard_platform.repos.revisions import Snapshot
from tests.support.factories import commit_files, make_user, token_for
from tests.support.hub import ndjson, regular

pytestmark = pytest.mark.django_db


def test_a_stale_parent_is_said_in_the_hubs_words_and_in_ours(send, repository, owner):
    first = commit_files(repository, owner, {"a": b"1"})
    commit_files(repository, owner, {"a": b"2"})
    body = ndjson(regular("a", b"3"), parent=first.commit_id)
    answer = send("POST", f"/api/models/{repository}/commit/main", body)
    assert answer.status_code == 412
    said = "The branch was updated since you opened this page. Please refresh and try again."
    assert answer.json()["error"].startswith(said)
    assert answer.headers["X-Steelyard-Message"].startswith(f"{repository} has moved on")


def test_branches_are_refused_in_the_hubs_words(send, repository, owner):
    first = commit_files(repository, owner, {"a": b"1"})
    place = f"/api/models/{repository}/branch"
    assert send("POST", f"{place}/side", {}).status_code == 200
    again = send("POST", f"{place}/side", {})
    assert (again.status_code, "Reference refs/heads/side already exists" in again.json()["error"]) == (409, True)
    assert "Cannot delete refs/heads/main" in send("DELETE", f"{place}/main").json()["error"]
    at = Snapshot(repository, first)
    services.create_tag(repository=repository, name="one", at=at, message="", actor=actor_for_user(owner))
    for name in ("nothing", "one"):
        assert "Invalid rev id" in send("DELETE", f"{place}/{name}").json()["error"]


def test_a_name_that_is_taken_is_said_to_be(send, repository):
    namespace, _, name = str(repository).partition("/")
    taken = send("POST", "/api/repos/create", {"name": name, "organization": namespace})
    assert (taken.status_code, taken.json()["error"]) == (
        409,
        f"A model repository called {repository} already exists.",
    )
    send("POST", "/api/repos/create", {"name": "other", "organization": namespace})
    move = {"fromRepo": f"{namespace}/other", "toRepo": str(repository), "type": "model"}
    assert "A model repository called" in send("POST", "/api/repos/move", move).json()["error"]


def files_of(send, repository):
    return [one["path"] for one in send("GET", f"/api/models/{repository}/tree/main?recursive=true").json()]


def test_a_folder_may_be_deleted_as_if_it_were_a_file(send, repository, owner):
    commit_files(repository, owner, {"a/1": b"1", "a/b/2": b"2", "ab": b"3"})
    answer = send("POST", f"/api/models/{repository}/commit/main", ndjson(("deletedFile", {"path": "a"})))
    assert answer.status_code == 200
    assert files_of(send, repository) == ["ab"]
    missing = send("POST", f"/api/models/{repository}/commit/main", ndjson(("deletedFile", {"path": "a"})))
    assert missing.status_code == 404


def ask(send, repository, *paths, size=10, **more):
    body = {"files": [{"path": path, "size": size, "sample": ""} for path in paths], **more}
    return send("POST", f"/api/models/{repository}/preupload/main", body)


def modes(answer):
    return {one["path"]: one["uploadMode"] for one in answer.json()["files"]}


def test_what_a_gitignore_names_is_not_asked_for(send, repository, owner):
    def ignored(**more):
        answer = ask(send, repository, "logs/1.txt", "keep.log", "model.bin", **more)
        return {one["path"] for one in answer.json()["files"] if one["shouldIgnore"]}

    assert ignored() == set()
    assert ignored(gitIgnore="logs/*\n*.log\n!keep.log\n") == {"logs/1.txt"}
    commit_files(repository, owner, {".gitignore": b"# what nobody needs\n*.bin\n"})
    assert ignored() == {"model.bin"}
    assert ignored(gitIgnore="") == set()


def test_a_gitignore_cannot_keep_the_server_busy(send, repository):
    answer = ask(send, repository, "a" * 200, gitIgnore="*a*a*a*a*a*b")
    assert (answer.status_code, "holds more '*' than can be looked for" in answer.json()["error"]) == (400, True)


def test_a_gitignore_that_cannot_be_read_can_still_be_mended(send, repository, owner):
    commit_files(repository, owner, {".gitignore": b"*a*a*a*a*a*b\n", ".gitattributes": b"*a*a*a*a filter=lfs\n"})
    assert modes(ask(send, repository, ".gitignore")) == {".gitignore": "regular"}


def test_the_repositorys_own_gitattributes_say_what_is_large(send, repository, owner):
    before = modes(ask(send, repository, "a.dat", "b.bin", "c.txt"))
    assert before == {"a.dat": "regular", "b.bin": "lfs", "c.txt": "regular"}
    attributes = b"*.dat filter=lfs diff=lfs merge=lfs -text\n*.bin !filter\n*.txt text\n"
    commit_files(repository, owner, {".gitattributes": attributes})
    assert modes(ask(send, repository, "a.dat", "b.bin", "c.txt")) == {
        "a.dat": "lfs",
        "b.bin": "regular",
        "c.txt": "regular",
    }
    assert modes(ask(send, repository, "b.bin", size=10**9)) == {"b.bin": "lfs"}


def check(send, content, **headers):
    return send("POST", "/api/validate-yaml", {"content": content, "repoType": "model"}, **headers)


def test_a_card_is_checked_for_what_can_be_wrong_with_it(send):
    unknown = check(send, "---\nlicense: asdf\n---\n")
    assert unknown.status_code == 400
    assert unknown.json()["errors"][0]["message"].startswith('"license" must be one of')
    index = check(send, "\n---\nmodel-index: foo\n---\n")
    assert (index.status_code, "model-index" in index.json()["errors"][0]["message"]) == (400, True)
    bare = check(send, "# A card and nothing else")
    assert (bare.status_code, bare.json()["errors"], len(bare.json()["warnings"])) == (200, [], 1)
    assert check(send, "---\nlicense: other\n---\n").json() == {"errors": [], "warnings": []}
    plain = check(send, "---\nlicense: asdf\n---\n", HTTP_ACCEPT="text/plain")
    assert plain.content.decode().startswith('- Error: "license" must be one of')


def test_commits_come_formatted_when_asked(send, repository, owner):
    commit_files(repository, owner, {"a": b"1"})
    [plain] = send("GET", f"/api/models/{repository}/commits/main").json()
    assert "formatted" not in plain
    [formatted] = send("GET", f"/api/models/{repository}/commits/main?expand[]=formatted").json()
    assert formatted["formatted"] == {"title": "a commit", "message": ""}


def test_a_folders_last_commit_is_that_of_whatever_is_in_it(send, repository, owner):
    first = commit_files(repository, owner, {"a/1": b"1", "b/1": b"1", "c": b"1", "d/1": b"1", "d/2": b"1"})
    second = commit_files(repository, owner, {"a/deep/2": b"2"})
    third = commit_files(repository, owner, {"d/2": None})
    services.create_branch(
        repository=repository, name="side", start=Snapshot(repository, third), actor=actor_for_user(owner)
    )
    fourth = commit_files(repository, owner, {"b/1": b"4"}, branch="side")

    def last(revision):
        items = send("GET", f"/api/models/{repository}/tree/{revision}?expand=true").json()
        return {item["path"]: item["lastCommit"]["id"] for item in items}

    on_main = {"a": second.commit_id, "b": first.commit_id, "c": first.commit_id, "d": third.commit_id}
    assert last("main") == on_main
    assert last("v1") == dict.fromkeys("abcd", first.commit_id)
    assert last("side") == on_main | {"b": fourth.commit_id}
    asked = {"paths": ["a", "c"], "expand": True}
    [folder, file] = send("POST", f"/api/models/{repository}/paths-info/main", asked).json()
    assert (folder["lastCommit"]["id"], file["lastCommit"]["id"]) == (second.commit_id, first.commit_id)
    plain = send("GET", f"/api/models/{repository}/tree/main").json()
    assert not any("lastCommit" in item for item in plain)


def test_nobody_likes_anything_and_the_list_says_so(send, owner):
    assert send("GET", f"/api/users/{owner.username}/likes").json() == []
    assert send("GET", "/api/users/nobody-here/likes").status_code == 404
    unlike = send("DELETE", "/api/models/gpt2/like")
    assert (unlike.status_code, unlike.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_a_token_to_write_is_given_for_a_revision_that_is_yet_to_be(send, repository):
    assert send("GET", f"/api/models/{repository}/xet-write-token/None").status_code == 200
    assert send("GET", f"/api/models/{repository}/xet-read-token/None").status_code == 404
    stranger = token_for(make_user())
    assert send("GET", f"/api/models/{repository}/xet-write-token/None", token=stranger).status_code == 404
