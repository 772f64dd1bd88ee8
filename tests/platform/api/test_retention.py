"""`/api/v1`: the trash, what a deletion would break, expiry rules, and who may see any of it."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import Membership
from steelyard_platform.accounts.permissions import Role, Scope
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import services
from steelyard_platform.repos.models import TrashItem
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.models import Relation
from steelyard_platform.weights.services import record_evaluation, record_lineage
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(client, owner):
    def send(method, path, body=None, token=None):
        authorization = {"HTTP_AUTHORIZATION": f"Bearer {token or token_for(owner)}"}
        data = json.dumps(body).encode() if body is not None else b""
        return client.generic(method, f"/api/v1{path}", data, content_type="application/json", **authorization)

    return send


@pytest.fixture
def repository(owner, team):
    made = make_repository(team, owner, "reader", public=True)
    for number in range(3):
        commit_files(made, owner, {"w": b"%d" % number})
    return made


def test_what_was_deleted_is_listed_and_comes_back(call, repository):
    home = f"/models/{repository}"
    assert call("GET", f"{home}/versions/v2/deletion").json()["possible"]
    assert call("DELETE", f"{home}/versions/v2").status_code == 204
    assert [item["version"] for item in call("GET", f"{home}/versions").json()["items"]] == ["v3", "v1"]
    (item,) = call("GET", f"/trash?namespace={repository.team}").json()["items"]
    assert (item["what"], item["label"], item["versions"]) == ("version", f"{repository}@v2", 1)
    assert call("GET", f"{home}/storage").json()["trash"] > 0
    answer = call("POST", f"/trash/{item['id']}/restore", {})
    assert (answer.status_code, answer.json()) == (200, {"label": f"{repository}@v2"})
    assert call("POST", f"/trash/{item['id']}/restore", {}).status_code == 404
    assert call("GET", f"{home}/versions/v2").status_code == 200
    assert call("GET", f"{home}/storage").json()["trash"] == 0


def test_the_list_comes_in_pages_with_as_many_queries_for_many(
    call, repository, owner, team, django_assert_max_num_queries
):
    for number in range(7):
        made = make_repository(team, owner, f"m{number}")
        services.delete_repository(repository=made, actor=actor_for_user(owner))
    token = token_for(owner)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        with django_assert_max_num_queries(5):
            page = call("GET", f"/trash?limit=3&cursor={cursor}", token=token).json()
        seen += [item["label"] for item in page["items"]]
        cursor = page["next"]
    assert seen == [f"{team}/m{number}" for number in reversed(range(7))]


def test_a_refusal_is_a_conflict_that_names_what_stands_in_the_way(call, repository, owner):
    actor = actor_for_user(owner)
    services.create_tag(repository=repository, name="best", at=resolve(repository, "v1"), message="", actor=actor)
    foreseen = call("GET", f"/models/{repository}/versions/best/deletion").json()
    assert (foreseen["possible"], foreseen["holds"][0]["sentence"]) == (False, "the tag 'best' stands on v1")
    answer = call("DELETE", f"/models/{repository}/versions/v1")
    assert (answer.status_code, answer.json()["error"]["message"]) == (409, foreseen["lines"][0])
    assert answer.json()["error"]["details"]["holds"] == [{"kind": "tag", "name": "best", "version": "v1"}]


def test_a_rule_is_previewed_kept_and_removed(call, repository):
    address = f"/models/{repository}/expiry"
    assert call("GET", address).status_code == 404
    tried = call("POST", f"{address}/preview", {"keep_last": 1}).json()
    assert tried["sentence"].startswith("The rule would expire 2 versions, ")
    assert call("GET", address).status_code == 404
    assert call("PUT", address, {"keep_last": 1, "older_than_days": 3}).json()["older_than_days"] == 3
    assert call("GET", address).json()["keep_last"] == 1
    assert call("PUT", address, {"keep_last": 0}).status_code == 400
    assert call("DELETE", address).status_code == 204
    assert call("DELETE", address).status_code == 404


@pytest.mark.parametrize("who", ["reader", "stranger", "read token", "contributor"])
def test_who_may_not_delete_sees_and_changes_nothing(call, repository, owner, team, who):
    services.delete_version(version=_at(repository, "v1"), actor=actor_for_user(owner))
    item = TrashItem.objects.get().pk
    user = make_user()
    if who in {"reader", "contributor"}:
        Membership.objects.create(team=team, user=user, role=Role(who))
    token = token_for(owner, Scope.READ) if who == "read token" else token_for(user)
    sees = who == "contributor"
    assert len(call("GET", "/trash", token=token).json()["items"]) == sees
    assert call("GET", f"/models/{repository}/storage", token=token).json()["trash"] == 0 or sees
    for method, path, body in (
        ("GET", f"/models/{repository}/deletion", None),
        ("GET", f"/models/{repository}/versions/v2/deletion", None),
        ("PUT", f"/models/{repository}/expiry", {"keep_last": 1}),
        ("POST", f"/models/{repository}/expiry/preview", {"keep_last": 1}),
        ("DELETE", f"/models/{repository}/expiry", None),
    ):
        assert call(method, path, body, token=token).status_code == 403
    for method, path in (("POST", f"/trash/{item}/restore"), ("DELETE", f"/trash/{item}")):
        assert call(method, path, {}, token=token).status_code == (403 if sees else 404)
    assert TrashItem.objects.exists()


def test_what_others_know_of_a_deleted_version_names_it_no_more(call, repository, owner, team):
    dataset = picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    version = _at(repository, "v2")
    record_lineage(source=dataset, target=version, relation=Relation.TRAINED_ON, job=None)
    measured = EvaluationReport(model="-", dataset="-", runtime="torch-cpu", metrics={"accuracy": 0.9})
    record_evaluation(version=version, dataset=dataset, report=measured, job=None)
    address = f"/datasets/{team}/digits/versions/v1"
    assert call("GET", address).json()["lineage"]
    services.delete_version(version=version, actor=actor_for_user(owner))
    assert call("GET", address).json()["lineage"] == []
    assert call("GET", f"{address}/lineage?direction=descendants").json()["items"] == []
    services.delete_repository(repository=dataset.repository, actor=actor_for_user(owner))
    for item in TrashItem.objects.filter(what="version"):
        call("POST", f"/trash/{item.pk}/restore", {})
    shown = call("GET", f"/models/{repository}/versions/v2").json()
    assert (shown["evaluations"], shown["lineage"]) == ([], [])
    for item in TrashItem.objects.all():
        call("POST", f"/trash/{item.pk}/restore", {})
    shown = call("GET", f"/models/{repository}/versions/v2").json()
    assert (len(shown["evaluations"]), len(shown["lineage"])) == (1, 2)


def _at(repository, revision):
    version = resolve(repository, revision).version
    assert version is not None
    return version
