"""`…/versions/{v}/lineage` and `…/lineage/devices`."""

from __future__ import annotations

import pytest

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.weights.models import ExternalSource, Relation
from steelyard_platform.weights.services import record_lineage
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def get(client, owner):
    def call(path, by=owner):
        return client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {token_for(by)}"})

    return call


@pytest.fixture
def trained(team, owner):
    """`digits` → `reader` → `small`, of which `reader` is public, and a base from elsewhere."""
    data = commit_files(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner, {"x": b"1"})
    reader = commit_files(make_repository(team, owner, "reader", public=True), owner, {"w": b"1"})
    small = commit_files(make_repository(team, owner, "small"), owner, {"w": b"2"})
    record_lineage(source=data, target=reader, relation=Relation.TRAINED_ON, job=None)
    record_lineage(source=reader, target=small, relation=Relation.PRUNED_FROM, job=None)
    ExternalSource.objects.create(target=reader, relation=Relation.FINE_TUNED_FROM, kind="model", name="far/away")


def test_a_graph_is_walked_in_either_direction(get, trained, team):
    address = f"/models/{team}/reader/versions/main/lineage"
    up = get(address).json()
    trained_on = {
        "relation": "trained-on",
        "source": f"datasets:/{team}/digits@v1",
        "target": f"{team}/reader@v1",
        "declared": False,
        "external": False,
    }
    outside = {
        "relation": "fine-tuned-from",
        "source": "far/away",
        "target": f"{team}/reader@v1",
        "declared": True,
        "external": True,
    }
    assert up == {"items": [trained_on, outside], "next": None}
    assert [edge["relation"] for edge in get(f"{address}?direction=descendants").json()["items"]] == ["pruned-from"]
    both = get(f"{address}?direction=both&limit=2").json()
    assert len(both["items"]) == 2
    assert get(f"{address}?direction=both&limit=2&cursor={both['next']}").json()["items"] == [outside]
    down = get(f"/datasets/{team}/digits/versions/v1/lineage?direction=descendants&depth=1").json()["items"]
    assert down == [trained_on]


def test_a_stranger_sees_the_public_part_alone(get, trained, team):
    stranger = make_user()
    answer = get(f"/models/{team}/reader/versions/v1/lineage?direction=both", by=stranger)
    assert [edge["source"] for edge in answer.json()["items"]] == ["far/away"]
    hidden = get(f"/models/{team}/small/versions/v1/lineage", by=stranger)
    missing = get(f"/models/{team}/never/versions/v1/lineage", by=stranger)
    assert (hidden.status_code, missing.status_code) == (404, 404)
    assert hidden.content.replace(b"small", b"never") == missing.content


@pytest.mark.parametrize("query", ["depth=0", "depth=1000", "direction=sideways", "cursor=x", "limit=x"])
def test_a_question_that_is_none_is_refused(get, trained, team, query):
    assert get(f"/models/{team}/reader/versions/v1/lineage?{query}").status_code == 400


def test_the_devices_of_a_dataset(get, trained, team, owner):
    from steelyard_contracts.fleet import EnrolRequest, PollRequest
    from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, MODEL_FILE
    from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user, new_secret
    from steelyard_platform.fleet import services
    from steelyard_platform.repos.models import Repository, Version

    data = Version.objects.get(repository__name="digits")
    reader = Repository.objects.select_related("team").get(name="reader")
    variant = commit_files(reader, owner, {MODEL_FILE: b"o", KNOWN_ANSWERS_FILE: b"{}"})
    record_lineage(source=data, target=variant, relation=Relation.TRAINED_ON, job=None)
    key, actor = new_secret(), actor_for_user(owner)
    enrolment = actor_for_secret(services.issue_enrolment_token(team=team, actor=actor))
    services.enrol_device(request=EnrolRequest(name="gate-1", key=key), actor=enrolment)
    release = services.create_release(version=variant, variant=None, reason="", actor=actor)
    services.answer_poll(request=PollRequest(running=release.digest), actor=actor_for_secret(key))
    answer = get(f"/datasets/{team}/digits/versions/v1/lineage/devices").json()
    assert [(one["device"], one["version"]) for one in answer["items"]] == [("gate-1", f"{team}/reader@v2")]
    assert get(f"/models/{team}/reader/versions/v2/lineage/devices", by=make_user()).json()["items"] == []


@pytest.mark.parametrize("relation", list(Relation))
def test_a_job_reports_what_it_made_its_version_from(client, get, team, owner, relation):
    from steelyard_contracts.jobs import EvaluateSpec
    from steelyard_platform.accounts.permissions import Actor, Scope
    from steelyard_platform.accounts.tokens import actor_for_user
    from steelyard_platform.jobs.services import claim_job, request_job
    from tests.support.factories import picture_dataset

    picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    reader = make_repository(team, owner, "reader")
    for weights in (b"1", b"2"):
        commit_files(reader, owner, {"w": weights})
    spec = EvaluateSpec(model=f"{team}/reader@v2", dataset=f"{team}/digits")
    job = request_job(spec=spec, actor=actor_for_user(owner))
    claim = claim_job(job_id=job.pk, worker="w", actor=Actor(name="worker", scope=Scope.WORKER))
    is_about_data = relation in {Relation.TRAINED_ON, Relation.EVALUATED_ON}
    source = f"datasets:/{team}/digits@v1" if is_about_data else f"{team}/reader@v1"
    report = {"relation": relation, "source": source, "target": f"{team}/reader@v2"}
    headers = {"Authorization": f"Bearer {claim.token}"}
    address = f"/api/v1/jobs/{job.pk}/lineage"
    for _ in range(2):  # told again after a lost answer
        assert client.post(address, report, content_type="application/json", headers=headers).status_code == 204
    edge = get(f"/models/{team}/reader/versions/v2/lineage").json()["items"]
    assert edge == [report | {"declared": False, "external": False}]
    odd = report | {"relation": "deployed-to"}
    assert client.post(address, odd, content_type="application/json", headers=headers).status_code == 400
