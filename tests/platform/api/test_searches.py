"""Searches over the API: the whole life of one, as the SDK asks for it."""

from __future__ import annotations

import pytest

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.jobs.search_models import Trial
from steelyard_platform.jobs.trials import advance_searches
from tests.support.factories import make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(client, owner):
    def request(verb, path="", body=None, user=owner):
        headers = {"Authorization": f"Bearer {token_for(user)}"}
        answer = getattr(client, verb)(
            f"/api/v1/searches{path}", body, content_type="application/json", headers=headers
        )
        return answer.status_code, answer.json()

    return request


@pytest.fixture
def body(owner, team):
    picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    space = {"epochs": {"kind": "int", "low": 1, "high": 9}, "augment": {"kind": "choices", "choices": [True, False]}}
    train = {"dataset": f"{team}/digits", "output": f"{team}/reader"}
    return {"spec": {"train": train, "space": space, "trials": 30, "parallel": 3}}


def test_a_search_is_asked_for_seen_page_by_page_stopped_cancelled_and_resumed(call, body, team):
    status, made = call("post", body=body)
    assert (status, made["state"], made["asked"], made["name"]) == (201, "running", 0, f"{team}/reader")
    assert made["spec"]["train"]["dataset"] == f"{team}/digits@v1"
    advance_searches()
    path = f"/{made['id']}"
    assert call("get", path)[1]["trials"] == {"running": 3}
    first = call("get", f"{path}/trials?limit=2")[1]
    second = call("get", f"{path}/trials?limit=2&cursor={first['next']}")[1]
    assert [one["number"] for one in [*first["items"], *second["items"]]] == [1, 2, 3]
    assert set(first["items"][0]["params"]) == {"epochs", "augment"}
    assert first["items"][0]["job"] == str(Trial.objects.get(number=1).job_id)
    assert call("post", f"{path}/stop")[1]["state"] == "stopping"
    assert call("post", f"{path}/resume", {"trials": 1})[0] == 409
    assert call("post", f"{path}/cancel")[1]["state"] == "cancelled"
    status, refusal = call("post", f"{path}/cancel")
    assert (status, refusal["error"]["message"]) == (409, "The search is cancelled already.")
    resumed = call("post", f"{path}/resume", {"trials": 5})[1]
    assert (resumed["state"], resumed["spec"]["trials"]) == ("running", 35)
    assert [one["id"] for one in call("get", f"?team={team}&state=running")[1]["items"]] == [made["id"]]
    assert call("get", "?state=failed")[1] == {"items": [], "next": None}


def test_a_strangers_search_looks_like_none_and_impossible_ones_say_why(call, body):
    made = call("post", body=body)[1]
    stranger = make_user()
    for verb, path in (("get", ""), ("get", "/trials"), ("post", "/stop"), ("post", "/cancel")):
        assert call(verb, f"/{made['id']}{path}", user=stranger)[0] == 404
    assert call("get", user=stranger)[1]["items"] == []
    body["spec"]["space"]["epochs"]["low"] = 10
    status, refusal = call("post", body=body)
    assert status == 400
    assert "low must be less than high" in refusal["error"]["message"]
