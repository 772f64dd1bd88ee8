"""The Hub's API met with bad input: one clear sentence, the header that clients go by, and nothing lost."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.digests import sha256_of
from steelyard_platform.repos.models import BlobHolder, Version
from steelyard_platform.storage.services import object_store
from tests.support.factories import commit_files, make_user, token_for
from tests.support.hub import large, ndjson, regular

pytestmark = pytest.mark.django_db


def assert_refused(answer, status, sentence, code=None):
    assert answer.status_code == status, answer.content
    assert sentence in answer.json()["error"]
    assert answer.headers["X-Error-Message"]
    assert answer.headers.get("X-Error-Code") == code


def test_a_wrong_token_is_refused_even_for_public_things(send, repository):
    answer = send("GET", f"/api/models/{repository}", token="sy_wrong")
    assert_refused(answer, 401, "Invalid credentials in Authorization header")


def test_a_private_repository_looks_like_one_that_does_not_exist(send, repository):
    stranger = token_for(make_user())
    private = send("GET", f"/api/models/{repository}", token=stranger)
    missing = send("GET", f"/api/models/{repository.team}/nothing", token=stranger)
    for answer in (private, missing, send("GET", f"/api/models/{repository}", token="")):
        assert_refused(answer, 404, "Repository not found", "RepoNotFound")
        assert "There is no model" in answer.headers["X-Steelyard-Message"]
        assert "or you may not read it" in answer.headers["X-Steelyard-Message"]
    assert private.content == missing.content


def test_a_reading_token_does_not_write(send, repository, owner):
    from steelyard_platform.accounts.permissions import Scope

    reading = token_for(owner, Scope.READ)
    answer = send("POST", f"/api/models/{repository}/commit/main", ndjson(regular("a")), token=reading)
    assert_refused(answer, 403, "the token's scope is read")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("../evil", "holds '.' or '..'"),
        ("a\x07b", "control character"),
        ("/abs", "begins with '/'"),
        ("..\\evil", "holds a backslash"),
    ],
)
def test_a_path_that_leaves_its_place_is_refused(send, repository, path, sentence):
    answer = send("POST", f"/api/models/{repository}/commit/main", ndjson(regular(path)))
    assert_refused(answer, 422, sentence)
    assert not Version.objects.exists()


@pytest.mark.parametrize("name", ["a--b", "-a", "a b", "x.git"])
def test_a_bad_name_is_refused(send, owner, name):
    answer = send("POST", "/api/repos/create", {"name": name, "organization": owner.username})
    assert answer.status_code == 400
    assert "repository" in answer.json()["error"]


def test_a_commit_of_bytes_nobody_uploaded_is_refused(send, repository):
    answer = send("POST", f"/api/models/{repository}/commit/main", ndjson(regular("a"), large("w", "0" * 64)))
    assert_refused(answer, 400, "was uploaded; upload it, then commit")
    assert not Version.objects.exists()


def upload_large(send, repository, data, announced):
    objects = [{"oid": announced, "size": len(data)}]
    batch = send("POST", f"/{repository}.git/info/lfs/objects/batch", {"operation": "upload", "objects": objects})
    actions = batch.json()["objects"][0]["actions"]
    put = send("PUT", actions["upload"]["href"].removeprefix("http://testserver"), data, token="")
    assert put.status_code == 200
    return send("POST", actions["verify"]["href"].removeprefix("http://testserver"), objects[0])


def test_a_sha256_that_does_not_match_is_refused_and_a_second_try_starts_clean(send, repository):
    data = b"weights" * 100
    wrong = upload_large(send, repository, data, "1" * 64)
    assert_refused(wrong, 400, "not 1111")
    assert not BlobHolder.objects.exists()
    assert upload_large(send, repository, data, sha256_of(data)).status_code == 200
    answer = send("POST", f"/api/models/{repository}/commit/main", ndjson(large("w", sha256_of(data), len(data))))
    assert answer.status_code == 200


def test_a_stale_parent_is_refused(send, repository, owner):
    first = commit_files(repository, owner, {"a": b"1"})
    commit_files(repository, owner, {"a": b"2"})
    body = ndjson(regular("a", b"3"), parent=first.commit_id)
    assert_refused(send("POST", f"/api/models/{repository}/commit/main", body), 412, "has moved on")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"not json", "Line 1 of the commit is not JSON"),
        (b'{"key": "file", "value": {"path": "a", "content": "!", "encoding": "base64"}}', "is not base64"),
        (b'{"key": "rename", "value": {}}', "A commit has no operation 'rename'"),
        (b"[1]", "is not a JSON object"),
        (b'{"key": "lfsFile", "value": {"path": "a", "oid": "xyz"}}', "is not a SHA-256"),
    ],
)
def test_a_malformed_commit_is_refused(send, repository, body, sentence):
    assert_refused(send("POST", f"/api/models/{repository}/commit/main", body), 400, sentence)
    assert not Version.objects.exists()


def test_a_file_that_is_not_there_says_so_and_names_the_commit(send, repository, owner):
    version = commit_files(repository, owner, {"a": b"1"})
    answer = send("HEAD", f"/{repository}/resolve/main/nothing.bin")
    assert answer.status_code == 404
    assert answer.headers["X-Error-Code"] == "EntryNotFound"
    assert answer.headers["X-Repo-Commit"] == version.commit_id
    assert_refused(send("GET", f"/{repository}/resolve/v9/a"), 404, "no revision 'v9'", "RevisionNotFound")


def test_a_slice_of_a_pack_is_never_redirected_to_the_whole_pack(send, repository, owner, monkeypatch):
    """On S3 a redirect would hand over every file of the pack, whoever sent it."""
    known = b"*.bin filter=lfs"
    commit_files(repository, owner, {"a": known, "secret": b"months of training"})
    monkeypatch.setattr(type(object_store()), "signed_get", lambda *_, **__: "http://s3.test/signed")
    send("POST", f"/api/models/{repository}/commit/main", ndjson(large("b", sha256_of(known), len(known))))
    answer = send("GET", f"/{repository}/resolve/main/b")
    assert answer.status_code == 200
    assert b"".join(answer.streaming_content) == known


def test_a_card_cannot_eat_the_memory(send, repository):
    bomb = "---\na: &a [x, x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\n"
    answer = send("POST", "/api/validate-yaml", {"content": bomb, "repoType": "model"})
    assert answer.status_code == 400
    assert "aliases (*name) are not allowed in a card" in answer.json()["errors"][0]["message"]
    committed = send("POST", f"/api/models/{repository}/commit/main", ndjson(regular("README.md", bomb.encode())))
    assert committed.status_code == 200


@pytest.mark.parametrize("value", [{"path": "w", "oid": "0" * 64, "size": "large"}, {"path": 7, "oid": "0" * 64}])
def test_malformed_fields_are_the_senders_fault(send, repository, value):
    body = json.dumps({"key": "lfsFile", "value": value}).encode()
    assert send("POST", f"/api/models/{repository}/commit/main", body).status_code == 400


def test_a_users_html_cannot_act_on_this_origin(send, repository, owner):
    commit_files(repository, owner, {"page.html": b"<script>alert(1)</script>"})
    answer = send("GET", f"/{repository}/resolve/main/page.html")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_the_hub_does_not_answer_is_still_json(send):
    answer = send("GET", "/api/spaces/a/b")
    assert answer.status_code == 404
    assert "Steelyard does not answer GET /api/spaces/a/b" in answer.json()["error"]


def test_a_card_with_broken_front_matter_is_refused_before_it_is_pushed(send):
    good = send("POST", "/api/validate-yaml", {"content": "---\nlicense: mit\n---\n# Hi", "repoType": "model"})
    assert (good.status_code, good.json()["errors"]) == (200, [])
    bad = send("POST", "/api/validate-yaml", {"content": "---\nlicense: [mit\n---\n", "repoType": "model"})
    assert bad.status_code == 400
    assert "is not valid YAML" in bad.json()["errors"][0]["message"]
