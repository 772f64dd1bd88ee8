"""`/api/v1/imports`: what was done elsewhere, with its numbers, names and dates; for maintainers, and audited."""

from __future__ import annotations

import json
from typing import Any

import pytest

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.models import Version
from steelyard_platform.weights.models import LineageEdge
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for
from tests.support.hub import regular

pytestmark = pytest.mark.django_db

LONG_AGO = "2019-03-01T12:00:00+00:00"
ID = "a" * 40


@pytest.fixture
def model(owner, team):
    return make_repository(team, owner, "reader")


@pytest.fixture
def call(client, owner, model):
    def send(method, path, body=None, who=None):
        headers = {"HTTP_AUTHORIZATION": f"Bearer {token_for(who or owner)}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        address = f"/api/v1{path.replace('…', f'models/{model}')}"
        return client.generic(method, address, data, content_type="application/json", **headers)

    return send


def version(*operations, **header):
    head = {"author": "grace", "created_at": LONG_AGO, "title": "the first", **header}
    records = [{"key": "header", "value": head}, *({"key": key, "value": value} for key, value in operations)]
    return "\n".join(map(json.dumps, records)).encode()


def test_a_version_keeps_its_number_author_date_and_id(call, model):
    made = call("POST", "/imports/…/versions", version(regular("w", b"1"), number=3, commit=ID, message="more words"))
    assert (made.status_code, made.json()["version"], made.json()["made"]) == (201, "v3", True)
    view = call("GET", "/…/versions/v3").json()
    assert (view["author"], view["title"], view["message"], view["commit"]) == ("grace", "the first", "more words", ID)
    assert view["created_at"].startswith("2019-03-01T12:00:00")
    following = call("POST", "/imports/…/versions", version(regular("w", b"2"), number=7, follows=3)).json()
    assert following["version"] == "v7"
    assert [one["version"] for one in call("GET", "/…/versions").json()["items"]] == ["v7", "v3"]
    row = AuditRow.objects.filter(action="import version").earliest("pk")
    assert (row.detail["version"], row.detail["author"], row.detail["made_at"]) == ("v3", "grace", LONG_AGO)
    assert Version.objects.get(commit_id=ID).author is None


def test_a_number_that_is_taken_and_a_head_that_moved_are_refused_in_a_sentence(call, model, owner):
    commit_files(model, owner, {"w": b"mine"})
    taken = call("POST", "/imports/…/versions", version(regular("w", b"1"), number=1, follows=1))
    assert taken.status_code == 409
    assert "v1 cannot be imported there any more" in taken.json()["error"]["message"]
    moved = call("POST", "/imports/…/versions", version(regular("w", b"1"), number=2))
    assert "ends with v1 there, not with v0" in moved.json()["error"]["message"]


def test_an_id_that_another_version_has_is_not_taken_over(call, model, owner, team):
    other = commit_files(make_repository(team, owner, "other"), owner, {"w": b"1"})
    made = call("POST", "/imports/…/versions", version(regular("w", b"1"), commit=other.commit_id)).json()
    assert made["commit"] != other.commit_id


def test_a_version_that_changes_nothing_is_made_only_when_that_is_asked(call):
    call("POST", "/imports/…/versions", version(regular("w", b"1")))
    again = call("POST", "/imports/…/versions", version(regular("w", b"1"), follows=1))
    assert (again.status_code, again.json()["version"], again.json()["made"]) == (200, "v1", False)
    made = call("POST", "/imports/…/versions", version(regular("w", b"1"), follows=1, keep_unchanged=True))
    assert made.json()["version"] == "v2"


def test_only_maintainers_import_and_a_stranger_meets_nothing(call, team, owner):
    contributor, stranger = make_user(), make_user()
    set_role(team=team, username=contributor.username, role=Role.CONTRIBUTOR, actor=actor_for_user(owner))
    for path, body in [
        ("versions", version(regular("w"))),
        ("repository", {"created_at": LONG_AGO}),
        ("alias-moves", {"moves": []}),
        ("aliases", {"aliases": []}),
        ("lineage", {"edges": []}),
    ]:
        assert call("POST", f"/imports/…/{path}", body, who=contributor).status_code == 403, path
        assert call("POST", f"/imports/…/{path}", body, who=stranger).status_code == 404, path


@pytest.mark.parametrize(
    ("header", "word"),
    [({"number": 0}, "number"), ({"created_at": "2019-03-01T12:00:00"}, "created_at"), ({"author": ""}, "author")],
)
def test_a_header_that_is_wrong_is_named(call, header, word):
    refused = call("POST", "/imports/…/versions", version(regular("w"), **header))
    assert refused.json()["error"]["code"] == "invalid_input"
    assert word in refused.json()["error"]["message"]


def test_history_of_names_comes_once_and_the_alias_stands_without_a_new_move(call, model, owner):
    for data in (b"1", b"2"):
        commit_files(model, owner, {"w": data})
    moves: list[dict[str, Any]] = [
        {"alias": "production", "to_version": "v1", "actor": "grace", "reason": "good", "at": LONG_AGO},
        {
            "alias": "production",
            "from_version": "v1",
            "to_version": "v2",
            "actor": "ada",
            "at": "2020-01-01T00:00:00.123456+00:00",  # shown to the millisecond
            "verdicts": [{"rule": "size_mb <= 1", "passed": True, "measured": 0.1, "sentence": "it is small"}],
        },
    ]
    assert call("POST", "/imports/…/alias-moves", {"moves": moves}).json() == {"added": 2}
    shown = [moves[0], {**moves[1], "at": "2020-01-01T00:00:00.123Z"}]
    assert call("POST", "/imports/…/alias-moves", {"moves": shown}).json() == {"added": 0}
    alias = {"aliases": [{"name": "production", "version": "v2", "protected": True}]}
    assert call("POST", "/imports/…/aliases", alias).json() == {"added": 1}
    assert call("POST", "/imports/…/aliases", alias).json() == {"added": 0}
    history = call("GET", "/…/alias-history").json()["items"]
    assert [(one["actor"], one["to_version"], one["at"]) for one in history] == [
        ("ada", "v2", "2020-01-01T00:00:00.123Z"),
        ("grace", "v1", "2019-03-01T12:00:00Z"),
    ]
    assert history[0]["verdicts"] == moves[1]["verdicts"]
    assert call("GET", "/…/aliases").json() == [{"name": "production", "version": "v2", "protected": True}]


def test_a_gate_that_guards_the_alias_here_still_does(call, model, owner):
    commit_files(model, owner, {"w": b"1"})
    call("POST", "/…/gates", {"rule": "size_mb <= 0", "applies_to": "production"})
    refused = call("POST", "/imports/…/aliases", {"aliases": [{"name": "production", "version": "v1"}]})
    assert refused.json()["error"]["code"] == "gate_refused"
    assert call("GET", "/…/aliases").json() == []


def test_lineage_names_versions_that_are_here_and_keeps_words_for_others(call, model, owner, team):
    base = make_repository(team, owner, "base")
    commit_files(base, owner, {"w": b"0"})
    commit_files(model, owner, {"w": b"1"})
    edges = [
        {"relation": "fine-tuned-from", "source": f"{base}@v1", "target": "v1"},
        {"relation": "trained-on", "source": "datasets:/far/away@v4", "target": "v1"},
    ]
    assert call("POST", "/imports/…/lineage", {"edges": edges}).json() == {"added": 2}
    assert call("POST", "/imports/…/lineage", {"edges": edges}).json() == {"added": 0}
    found = {one["source"]: one["external"] for one in call("GET", "/…/versions/v1/lineage").json()["items"]}
    assert found == {f"{base}@v1": False, "datasets:/far/away@v4": True}
    assert LineageEdge.objects.get().declared is False
    refused = call("POST", "/imports/…/lineage", {"edges": [{**edges[0], "target": "v9"}]})
    assert refused.status_code == 404


def test_an_evaluation_goes_out_and_comes_in_with_everything(call, model, owner, team):
    dataset = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    picture_dataset(dataset, owner)
    commit_files(model, owner, {"w": b"1"})
    report: dict[str, Any] = {
        "model": f"{model}@v1",
        "dataset": f"datasets:/{dataset}@v1",
        "split": "validation",
        "runtime": "torch",
        "metrics": {"accuracy": 0.75},
        "intervals": {"accuracy": {"low": 0.5, "high": 0.9}},
        "environment": {"cpu": "slow"},
        "task": "image-classification",
        "pictures": 6,
        "measures": {"classes": [{"label": "a", "support": 3, "measures": {"f1": 0.5}}]},
        "replicates": {"pictures": "0" * 64, "values": {"accuracy": "AAAAAA=="}},
        "samples": [{"path": "a/1.png", "truth": "a", "answer": "b", "cost": 2.5, "picture": "iVBORw0KGgo="}],
    }
    path = "/imports/…/versions/v1/evaluations"
    assert call("POST", path, {"at": LONG_AGO, "report": report}).json() == {"added": 1}
    assert call("POST", path, {"at": LONG_AGO, "report": report}).json() == {"added": 0}
    (view,) = call("GET", "/…/versions/v1/evaluations").json()["items"]
    assert view["created_at"].startswith("2019-03-01")
    record = call("GET", f"/…/versions/v1/evaluations/{view['id']}/record").json()
    assert record["report"]["measures"]["classes"] == report["measures"]["classes"]
    assert {key: record["report"][key] for key in report if key != "measures"} == {
        key: value for key, value in report.items() if key != "measures"
    }


def test_an_older_date_of_a_repository_is_taken_and_a_younger_one_is_not(call):
    call("POST", "/imports/…/repository", {"created_at": LONG_AGO})
    call("POST", "/imports/…/repository", {"created_at": "2020-01-01T00:00:00Z"})
    assert call("GET", "/…").json()["created_at"].startswith("2019-03-01")


def test_files_come_with_their_digests_in_pages_and_branches_with_what_they_came_from(call, model, owner):
    commit_files(model, owner, {f"f{number}": b"%d" % number for number in range(5)})
    first = call("GET", "/…/versions/v1/files?limit=3").json()
    rest = call("GET", f"/…/versions/v1/files?limit=3&cursor={first['next']}").json()
    assert rest["next"] is None
    rows = first["items"] + rest["items"]
    assert [(row["path"], row["sha256"]) for row in rows] == [
        (f"f{number}", sha256_of(b"%d" % number)) for number in range(5)
    ]
    call("POST", "/…/branches", {"name": "v1-int8", "empty": True})
    names = {row["name"]: row for row in call("GET", "/…/branches").json()["items"]}
    assert names["v1-int8"] == {"name": "v1-int8", "head": None, "base": "v1", "sees_base": False}
    assert names["main"]["head"] == "v1"
