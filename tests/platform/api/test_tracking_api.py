"""`/api/v1/runs` as a program that trains elsewhere calls it."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from steelyard_platform.accounts.models import Token
from steelyard_platform.jobs.samples import _HEADER, _MARK
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(client, owner):
    secret = token_for(owner)

    def _call(method, path, body=None, *, token=secret, **options):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        send = getattr(client, method)
        if method == "get":
            return send(f"/api/v1/runs{path}", headers=headers)
        options.setdefault("content_type", "application/json")
        return send(f"/api/v1/runs{path}", {} if body is None else body, headers=headers, **options)

    return _call


@pytest.fixture
def run(call, team):
    body = {"project": f"{team}/shelf", "name": "exp", "key": str(uuid.uuid4()), "config": {"lr": 0.1}}
    answer = call("post", "", body)
    assert answer.status_code == 201
    assert call("post", "", body).json()["id"] == answer.json()["id"]
    return answer.json()


def test_a_run_from_its_start_to_its_end(call, run, team, owner, client):
    path = f"/{run['id']}"
    points = [{"name": "val/mAP(B)", "step": 3, "value": "NaN"}, {"name": "loss", "step": 3, "value": 0.5}]
    assert call("post", f"{path}/points", {"points": points}).json() == {"cancel": False, "stop": False}
    lines = [{"number": 0, "text": "epoch 1"}]
    assert call("post", f"{path}/lines", {"lines": lines}).status_code == 200
    png = _HEADER.pack(_MARK, 13, b"IHDR", 8, 6) + b"rest"
    query = f"{path}/samples?name=val(0)&step=3"
    assert call("post", query, png, content_type="image/png").status_code == 200
    changed = call("patch", path, {"tags": {"who": "ada"}, "config": {"epochs": 2}}).json()
    assert (changed["run"]["tags"], changed["spec"]["config"]) == ({"who": "ada"}, {"lr": 0.1, "epochs": 2})
    from steelyard_platform.repos.models import Repository

    commit_files(Repository.objects.get(name="shelf", team=team), owner, {"w": b"1"})
    assert call("post", f"{path}/versions", {"version": "v1"}).json()["result"] == {"version": f"{team}/shelf@v1"}
    done = call("post", f"{path}/finish", {"state": "succeeded", "result": {"accuracy": 0.9}}).json()
    assert (done["state"], done["result"]["accuracy"], done["run"]["is_silent"]) == ("succeeded", 0.9, False)
    assert call("post", f"{path}/resume", {"key": str(uuid.uuid4())}).json()["attempt"] == 2
    headers = {"Authorization": f"Bearer {token_for(owner)}"}
    names = client.get(f"/api/v1/jobs/{run['id']}/metric-names", headers=headers).json()["items"]
    assert {one["name"]: one["last_value"] for one in names} == {"loss": 0.5, "val/mAP_B": None}


def test_runs_are_listed_by_project(call, run, team, owner):
    make_repository(team, owner, "other")
    assert [one["id"] for one in call("get", f"?project={team}/shelf").json()["items"]] == [run["id"]]
    assert call("get", f"?project={team}/other").json()["items"] == []
    assert call("get", f"?project={team}/none").status_code == 404
    assert call("get", "?text=exp").json()["items"][0]["run"]["project"] == f"{team}/shelf"
    stranger = token_for(make_user())
    assert call("get", "", token=stranger).json()["items"] == []
    assert call("get", f"/{run['id']}", token=stranger).status_code == 404


def test_a_token_that_expired_is_answered_so_at_every_word(call, run, owner):
    secret = token_for(owner)
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for path, body in (("/points", {"points": []}), ("/lines", {"lines": []}), ("/finish", {"state": "failed"})):
        for token in (secret, ""):
            answer = call("post", f"/{run['id']}{path}", body, token=token)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] in {"token_expired", "token_invalid"}


def test_an_unknown_run_is_no_crash(call):
    path = f"/{uuid.uuid4()}"
    assert call("post", f"{path}/points", {"points": []}).status_code == 404
    assert call("post", f"{path}/finish", {"state": "failed"}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"project": "x"},
        {"project": "team\0/x"},
        {"project": "a/b", "config": {"x": "y" * 1_000_001}},
        {"project": "a/b", "started_at": "0001-01-01T00:00:00+14:00"},
        {"project": "a/b", "datasets": ["@"]},
    ],
)
def test_what_makes_no_run_is_refused_with_a_sentence(call, body):
    answer = call("post", "", body)
    assert answer.status_code in {400, 404}
    assert answer.json()["error"]["message"]
