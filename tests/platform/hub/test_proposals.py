"""Proposals: anybody who may read a public repository may make one, and it opens nothing else."""

from __future__ import annotations

import pytest

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.xet.xorbs import Scheme
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.services import set_visibility
from steelyard_platform.storage.xet.tokens import scope_of
from tests.support.factories import commit_files, make_repository, make_user, token_for
from tests.support.hub import large, ndjson, regular
from tests.support.xet import file_of, shard_of, xorb_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def public(repository, owner):
    commit_files(repository, owner, {"a": b"1"})
    set_visibility(repository=repository, public=True, actor=actor_for_user(owner))
    return repository


def place(repository, what):
    return f"/api/models/{repository}/{what}"


def files_at(send, repository, revision):
    return [one["path"] for one in send("GET", place(repository, f"tree/{revision}")).json()]


def test_a_visitors_commit_lands_on_a_branch_of_its_own(public, visit, send):
    answer = visit("POST", place(public, "commit/main?create_pr=1"), ndjson(regular("b")))
    assert answer.status_code == 200
    assert answer.json()["pullRequestUrl"].endswith(f"/{public}/discussions/1")
    assert files_at(send, public, "refs%2Fpr%2F1") == ["a", "b"]
    assert files_at(send, public, "main") == ["a"]
    told = send("GET", place(public, "discussions/1")).json()
    assert (told["title"], told["changes"], told["isPullRequest"]) == ("a commit", {"base": "refs/heads/main"}, True)
    assert [event["type"] for event in told["events"]] == ["comment", "commit"]


def test_one_can_be_opened_empty_and_committed_to_by_its_author(public, visit, send, visitor):
    opened = visit("POST", place(public, "discussions"), {"title": " A change ", "pullRequest": True})
    assert opened.json()["num"] == 1
    assert visit("POST", place(public, "commit/refs%2Fpr%2F1"), ndjson(regular("b"))).status_code == 200
    assert files_at(send, public, "refs%2Fpr%2F1") == ["a", "b"]
    [listed] = send("GET", place(public, f"discussions?author={visitor.username}&status=open&p=0")).json()[
        "discussions"
    ]
    assert (listed["title"], listed["author"]["name"]) == ("A change", visitor.username)
    assert send("GET", place(public, "discussions?type=discussion")).json()["count"] == 0


def test_nobody_commits_to_another_ones_proposal_or_to_a_branch(public, visit, send):
    visit("POST", place(public, "discussions"), {"title": "A change", "pullRequest": True})
    other = token_for(make_user())
    for revision in ("refs%2Fpr%2F1", "main", "refs%2Fpr%2F2"):
        answer = send("POST", place(public, f"commit/{revision}"), ndjson(regular("b")), token=other)
        assert answer.status_code == 403
    assert send("POST", place(public, "commit/refs%2Fpr%2F1"), ndjson(regular("c"))).status_code == 200
    assert Version.objects.count() == 2


def test_who_may_not_read_may_not_propose_and_nobody_must_sign_in(repository, public, visit, send, owner):
    body = {"title": "A change", "pullRequest": True}
    assert send("POST", place(public, "discussions"), body, token="").status_code == 401
    hidden = make_repository(public.team, owner, "hidden")
    assert visit("POST", place(hidden, "discussions"), body).status_code == 404
    assert visit("POST", place(hidden, "commit/main?create_pr=1"), ndjson(regular("b"))).status_code == 404


def test_a_proposal_is_made_against_a_branch(public, send):
    head = send("GET", place(public, "revision/main")).json()["sha"]
    for revision in (head, "nothing", "refs%2Fpr%2F9"):
        answer = send("POST", place(public, f"commit/{revision}?create_pr=1"), ndjson(regular("b")))
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "RevisionNotFound")


def test_there_are_no_discussions_and_no_nameless_proposals(public, send):
    for body, sentence in (
        ({"title": "Hello", "pullRequest": False}, "keeps no discussions"),
        ({"title": "x", "pullRequest": True}, "needs a title"),
    ):
        answer = send("POST", place(public, "discussions"), body)
        assert (answer.status_code, sentence in answer.json()["error"]) == (400, True)


def test_a_digest_alone_gives_a_visitor_nothing_of_what_the_team_holds(public, visit, owner):
    secret = b"months of training" * 100
    commit_files(make_repository(public.team, owner, "hidden"), owner, {"weights": secret})
    body = ndjson(large("w", sha256_of(secret), len(secret)))
    answer = visit("POST", place(public, "commit/main?create_pr=1"), body)
    assert (answer.status_code, "was uploaded" in answer.json()["error"]) == (400, True)
    assert not Version.objects.filter(branch__name__startswith="refs/pr/").exists()


def test_a_visitors_large_file_comes_through_their_own_part_of_the_store(public, visit, send, visitor, client):
    own = visitor.teams.get()
    assert visit("GET", place(public, "xet-write-token/main")).status_code == 403
    told = visit("GET", place(public, "xet-write-token/None?create_pr=1")).headers
    assert told["X-Xet-Cas-Url"].endswith(scope_of(own.pk))
    name, body = xorb_of(b"one " * 1000, b"two " * 2000, scheme=Scheme.NONE)
    record = file_of([(body, 0, 2)])
    assert record.sha256
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {told['X-Xet-Access-Token']}"}
    store = told["X-Xet-Cas-Url"].removeprefix("http://testserver")
    client.post(f"{store}/v1/xorbs/default/{name}", body, "application/octet-stream", **bearer)
    assert client.post(f"{store}/v1/shards", shard_of(record), "application/octet-stream", **bearer).status_code == 200
    commit = ndjson(large("w.bin", record.sha256, record.size))
    assert visit("POST", place(public, "commit/main?create_pr=1"), commit).status_code == 200
    served = send("GET", f"/{public}/resolve/refs%2Fpr%2F1/w.bin")
    assert b"".join(served.streaming_content) == b"one " * 1000 + b"two " * 2000
    # Taken over: the repository's own team holds it now.
    assert send("POST", place(public, "commit/main"), commit).status_code == 200
