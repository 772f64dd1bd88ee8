"""`/api/v1`: one error shape, pages, and a document of itself."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Scope
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(client, owner):
    def send(method, path, body=None, token=None):
        authorization = {"HTTP_AUTHORIZATION": f"Bearer {token if token is not None else token_for(owner)}"}
        data = json.dumps(body).encode() if body is not None else b""
        return client.generic(method, f"/api/v1{path}", data, content_type="application/json", **authorization)

    return send


def test_every_error_has_one_shape(call, team):
    answers = [
        call("GET", "/whoami", token="sy_wrong"),
        call("GET", f"/models/{team}/nothing"),
        call("POST", "/jobs", {"spec": {"kind": "train"}}),
        call("POST", "/jobs", {"spec": {"kind": "dance"}}),
        call("GET", "/jobs?cursor=nonsense"),
        call("GET", f"/teams/{team}x/devices"),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        error = answer.json()["error"]
        assert error["code"]
        assert error["message"].endswith((".", "header"))
        assert isinstance(error["details"], dict)


def test_a_malformed_request_says_what_was_wrong(call):
    answer = call("POST", "/jobs", {"spec": {"kind": "train", "dataset": "a/b", "output": "a/c", "epochs": 0}})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "The request is malformed: spec.train.epochs: Input should be greater than or equal to 1."
    )


def test_an_address_that_there_is_not_and_a_body_that_is_no_json_are_refused_as_all_else(call, client, owner):
    for address in ("", "/", "/nope", "/a/b/c/d", "/runs/", "/jobs/no-id"):
        answer = call("GET", address)
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, f"There is no GET /api/v1{address}.")
    answer = call("DELETE", "/jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    headers = {"Authorization": f"Bearer {token_for(owner)}"}
    answer = client.post("/api/v1/jobs", b"{", content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")


def test_lists_come_in_pages_that_miss_and_double_nothing(call, team, owner):
    names = {f"{make_repository(team, owner, f'm{number}')}" for number in range(7)}
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = call("GET", f"/models?limit=3&cursor={cursor}").json()
        assert len(page["items"]) <= 3
        seen += [item["name"] for item in page["items"]]
        cursor = page["next"]
    assert len(seen) == 7
    assert set(seen) == names


def test_lists_hold_only_what_the_reader_may_read(call, team, owner):
    make_repository(team, owner, "secret")
    make_repository(team, owner, "shown", public=True)
    stranger = token_for(make_user())
    assert [item["name"] for item in call("GET", "/models", token=stranger).json()["items"]] == [f"{team}/shown"]
    assert call("GET", f"/teams/{team}/audit", token=stranger).status_code == 403


def test_a_version_tells_its_splits_names_and_lineage(call, team, owner):
    picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner, labels="ab", count=2)
    version = call("GET", f"/datasets/{team}/digits/versions/main").json()
    assert version["version"] == "v1"
    assert version["splits"] == {"train": {"a": 2, "b": 2}, "validation": {"a": 2, "b": 2}}
    assert version["dataset"] == {
        "layout": "imagefolder",
        "tasks": ["image-classification"],
        "labels": ["a", "b"],
        "pictures": {"train": 4, "validation": 4},
        "faults": [],
        "fault_count": 0,
    }


def test_lineage_names_nothing_that_the_reader_may_not_read(call, team, owner):
    from steelyard_platform.weights.models import Relation
    from steelyard_platform.weights.services import record_lineage

    shown = commit_files(make_repository(team, owner, "shown", public=True), owner, {"w": b"1"})
    secret = commit_files(make_repository(team, owner, "secret"), owner, {"w": b"2"})
    record_lineage(source=shown, target=secret, relation=Relation.FINE_TUNED_FROM, job=None)
    address = f"/models/{team}/shown/versions/v1"
    assert len(call("GET", address).json()["lineage"]) == 1
    assert call("GET", address, token=token_for(make_user())).json()["lineage"] == []


def test_an_alias_is_moved_and_its_history_kept(call, team, owner):
    repository = make_repository(team, owner, "reader")
    commit_files(repository, owner, {"w": b"1"})
    commit_files(repository, owner, {"w": b"2"})
    for revision in ("v1", "v2"):
        assert call("PUT", f"/models/{team}/reader/aliases/production", {"revision": revision}).status_code == 200
    moves = call("GET", f"/models/{team}/reader/alias-history").json()["items"]
    assert [(move["from_version"], move["to_version"]) for move in moves] == [("v1", "v2"), (None, "v1")]
    assert call("GET", f"/models/{team}/reader/versions/production").json()["version"] == "v2"


def test_a_branch_with_a_slash_can_be_addressed(call, team, owner):
    make_repository(team, owner, "reader")
    commit_files(find(team, "reader"), owner, {"w": b"1"})
    assert call("POST", f"/models/{team}/reader/branches", {"name": "feature/x"}).status_code == 201
    # As the server's raw address arrives; Django's test client has none.
    answer = call("GET", f"/models/{team}/reader/versions/feature%1Fx")
    assert answer.json()["version"] == "v1"


def find(team, name):
    from steelyard_platform.repos.models import Repository

    return Repository.objects.select_related("team").get(team=team, name=name)


def test_tokens_are_made_by_admin_tokens_only_and_shown_once(call, owner):
    assert call("POST", "/tokens", {"name": "x", "scope": "read"}).status_code == 403
    admin = token_for(owner, Scope.ADMIN)
    made = call("POST", "/tokens", {"name": "x", "scope": "read", "days": 1}, token=admin).json()
    assert call("GET", "/whoami", token=made["token"]).json()["scope"] == "read"
    assert made["token"] not in call("GET", "/tokens", token=admin).content.decode()
    call("DELETE", f"/tokens/{made['view']['id']}", token=admin)
    assert call("GET", "/whoami", token=made["token"]).status_code == 401
    assert call("POST", "/tokens", {"name": "x", "scope": "worker"}, token=admin).status_code == 403


def test_every_write_leaves_an_audit_row_without_secrets(call, team, owner):
    admin = token_for(owner, Scope.ADMIN)
    made = call("POST", "/tokens", {"name": "x", "scope": "read"}, token=admin).json()
    call("POST", "/models", {"name": f"{team}/reader"})
    actions = set(AuditRow.objects.values_list("action", flat=True))
    assert {"issue token", "create repository"} <= actions
    assert made["token"] not in json.dumps(list(AuditRow.objects.values_list("detail", flat=True)))


def test_a_session_alone_does_not_write_to_the_api(client, owner, team):
    client.force_login(owner)
    answer = client.post("/api/v1/models", json.dumps({"name": f"{team}/x"}), content_type="application/json")
    assert answer.status_code == 401
    assert client.get("/api/v1/models").status_code == 200


def test_the_api_documents_itself(client):
    document = client.get("/api/v1/openapi.json").json()
    assert document["info"]["title"] == "Steelyard"
    assert {"/api/v1/jobs", "/api/v1/rollouts", "/api/v1/releases"} <= document["paths"].keys()
    assert "/api/device/v1/poll" in client.get("/api/device/v1/openapi.json").json()["paths"]
