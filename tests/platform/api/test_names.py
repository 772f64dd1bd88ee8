"""`/api/v1`: aliases with their history, tags, overrides and requests for promotion."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from steelyard_platform.accounts.permissions import Role, Scope
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(owner, team):
    repository = make_repository(team, owner, "reader")
    for data in (b"1", b"2", b"3"):
        commit_files(repository, owner, {"w": data})
    return repository


@pytest.fixture
def call(client, owner, model):
    def send(method, path, body=None, who=None):
        headers = {"HTTP_AUTHORIZATION": f"Bearer {token_for(who or owner)}"}
        data = json.dumps(body).encode() if body is not None else b""
        address = f"/api/v1/models/{model}{path}"
        return client.generic(method, address, data, content_type="application/json", **headers)

    return send


@pytest.fixture
def author(owner, team):
    user = make_user()
    set_role(team=team, username=user.username, role=Role.CONTRIBUTOR, actor=actor_for_user(owner))
    return user


def test_the_history_of_names_comes_in_pages_that_miss_nothing(call, owner):
    for number in range(6):
        call("PUT", "/aliases/production", {"revision": f"v{number % 3 + 1}", "reason": f"step {number}"})
    call("PUT", "/aliases/staging", {"revision": "v1"})
    call("DELETE", "/aliases/production?reason=gone")
    seen: list[dict[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = call("GET", f"/alias-history?alias=production&limit=3&cursor={cursor}").json()
        assert len(page["items"]) <= 3
        seen += page["items"]
        cursor = page["next"]
    assert [move["reason"] for move in seen] == ["gone", *(f"step {number}" for number in range(5, -1, -1))]
    assert [move["to_version"] for move in seen[:3]] == [None, "v3", "v2"]
    assert {move["actor"] for move in seen} == {owner.username}
    everything = call("GET", "/alias-history").json()["items"]
    assert len(everything) == 8
    assert {move["alias"] for move in everything} == {"production", "staging"}


def test_the_history_takes_as_many_queries_for_many_moves_as_for_one(call):
    counts = []
    for number in (1, 2, 3, 1):
        call("PUT", "/aliases/production", {"revision": f"v{number}"})
        with CaptureQueriesContext(connection) as queries:
            call("GET", "/alias-history")
        counts.append(len(queries))
    assert len(set(counts)) == 1


def test_tags_are_made_listed_and_deleted(call, author):
    made = call("POST", "/tags", {"name": "paper", "revision": "v2", "message": "as published"}, who=author)
    assert (made.status_code, made.json()) == (201, {"name": "paper", "version": "v2", "message": "as published"})
    call("POST", "/tags", {"name": "talk", "revision": "paper"})
    page = call("GET", "/tags?limit=1").json()
    assert [tag["name"] for tag in page["items"]] == ["talk"]
    assert [tag["name"] for tag in call("GET", f"/tags?cursor={page['next']}").json()["items"]] == ["paper"]
    assert call("POST", "/tags", {"name": "paper"}).status_code == 409
    assert call("DELETE", "/tags/paper").status_code == 204
    assert call("DELETE", "/tags/paper").status_code == 404


def test_a_stranger_meets_nothing(call):
    stranger = make_user()
    for method, path, body in [
        ("GET", "/alias-history", None),
        ("GET", "/tags", None),
        ("GET", "/promotions", None),
        ("GET", "/promotions/1", None),
        ("DELETE", "/aliases/production", None),
        ("POST", "/tags", {"name": "x"}),
        ("POST", "/promotions", {"revision": "v1", "target": "production"}),
        ("POST", "/promotions/1/approve", {}),
    ]:
        answer = call(method, path, body, who=stranger)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "repository_not_found")


def test_a_refusal_says_which_rule_what_was_measured_and_what_is_asked(call):
    call("POST", "/gates", {"rule": "size_mb <= 0", "applies_to": "production"})
    refused = call("PUT", "/aliases/production", {"revision": "v1"})
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert (error["code"], error["details"]["version"]) == ("gate_refused", "v1")
    assert error["message"].endswith("cannot become 'production': it weighs 1e-06 MB; at most 0 is asked.")
    assert error["details"]["verdicts"] == [
        {
            "rule": "size_mb <= 0",
            "passed": False,
            "measured": 1e-06,
            "sentence": "it weighs 1e-06 MB; at most 0 is asked",
        }
    ]
    moved = call("PUT", "/aliases/production", {"revision": "v1", "override": True, "reason": "it is one byte"})
    assert moved.status_code == 200
    (move,) = call("GET", "/alias-history").json()["items"]
    assert (move["reason"], move["overridden"]) == ("it is one byte", ["it weighs 1e-06 MB; at most 0 is asked"])


def test_a_request_from_asking_to_carrying_out(call, author, owner):
    call("POST", "/gates", {"rule": "approved by 1 maintainer", "applies_to": "production"})
    body = {"revision": "v2", "target": "production", "words": "better"}
    made = call("POST", "/promotions", body, who=author)
    assert made.status_code == 201
    view = made.json()
    assert (view["number"], view["version"], view["state"], view["replaces"]) == (1, "v2", "open", None)
    assert [verdict["passed"] for verdict in view["verdicts"]] == [False]
    assert call("POST", "/promotions/1/approve", {}, who=author).status_code == 403
    assert call("POST", "/promotions/1/approve", {"revision": "v1"}).status_code == 409
    call("POST", "/promotions/1/comments", {"words": "please"}, who=author)
    approved = call("POST", "/promotions/1/approve", {"revision": "v2", "words": "yes"}).json()
    assert [(event["step"], event["counts"]) for event in approved["events"]] == [
        ("comment", False),
        ("approval", True),
    ]
    assert approved["events"][1]["subject"] == "v2 as production in place of nothing"
    done = call("POST", "/promotions/1/carry-out", {}, who=author).json()
    assert (done["state"], done["replaces"]) == ("carried_out", "v2")
    (move,) = call("GET", "/alias-history").json()["items"]
    assert (move["promotion"], move["reason"]) == (1, "better")
    assert [one["number"] for one in call("GET", "/promotions?state=open").json()["items"]] == []
    assert [one["number"] for one in call("GET", "/promotions").json()["items"]] == [1]


def test_a_change_is_asked_by_reference(call, author):
    call("POST", "/promotions", {"revision": "v2", "target": "production"}, who=author)
    assert call("PATCH", "/promotions/1", {"revision": "main"}, who=author).json()["version"] == "v3"
    assert call("PATCH", "/promotions/1", {"revision": "v9"}, who=author).status_code == 404
    assert call("POST", "/promotions/1/withdraw", {}, who=author).json()["state"] == "withdrawn"


def test_a_reading_token_asks_for_nothing(client, model, owner):
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token_for(owner, Scope.READ)}"}
    body = json.dumps({"revision": "v1", "target": "production"})
    answer = client.post(f"/api/v1/models/{model}/promotions", body, content_type="application/json", **headers)
    assert answer.status_code == 403
