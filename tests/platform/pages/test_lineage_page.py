"""The lineage page: the picture, the table of the same, and the devices at its end."""

from __future__ import annotations

import re

import pytest

from steelyard_contracts.fleet import EnrolRequest, PollRequest
from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, MODEL_FILE
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user, new_secret
from steelyard_platform.fleet import services
from steelyard_platform.pages.lineage import shortened
from steelyard_platform.weights.models import ExternalSource, Relation
from steelyard_platform.weights.services import record_lineage
from tests.support.factories import commit_files, make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader(team, owner):
    """A public model, trained on private data, with a public child and a base from elsewhere."""
    data = commit_files(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner, {"x": b"1"})
    files = {MODEL_FILE: b"onnx", KNOWN_ANSWERS_FILE: b"{}"}
    version = commit_files(make_repository(team, owner, "reader", public=True), owner, files)
    child = commit_files(make_repository(team, owner, "child", public=True), owner, {"w": b"2"})
    record_lineage(source=data, target=version, relation=Relation.TRAINED_ON, job=None)
    record_lineage(source=data, target=version, relation=Relation.EVALUATED_ON, job=None)
    record_lineage(source=version, target=child, relation=Relation.QUANTIZED_FROM, job=None)
    name = "far/away<script>"
    ExternalSource.objects.create(target=version, relation=Relation.FINE_TUNED_FROM, kind="model", name=name)
    return version


@pytest.fixture
def devices(reader, team, owner):
    actor = actor_for_user(owner)
    release = services.create_release(version=reader, variant=None, reason="", actor=actor)
    for number in range(3):
        key = new_secret()
        enrolment = actor_for_secret(services.issue_enrolment_token(team=team, actor=actor))
        services.enrol_device(request=EnrolRequest(name=f"gate-{number}", key=key), actor=enrolment)
        services.answer_poll(request=PollRequest(running=release.digest), actor=actor_for_secret(key))


def text_of(client, address):
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def boxes(html):
    """{address: title} of what can be opened in the picture."""
    return dict(re.findall(r'<a href="([^"]+)" class="box.*?class="title"[^>]*>([^<]+)<', html))


def test_the_owner_sees_all_of_it_and_each_box_leads_somewhere(client, reader, devices, team, owner):
    client.force_login(owner)
    html = text_of(client, f"/{team}/reader/versions/v1/lineage")
    found = boxes(html)
    assert found == {
        f"/{team}/reader/versions/v1": "reader@v1",
        f"/{team}/child/versions/v1": "child@v1",
        f"/datasets/{team}/digits/versions/v1": "digits@v1",
        f"/fleet/{team}": "3 devices",
    }
    for address in found:
        assert client.get(address).status_code == 200
    assert html.count('<path class="line') == 4  # two relations between the same two are one line
    assert "far/away&lt;script&gt;" in html
    assert "<script>" not in html
    assert len(re.findall(r'<td class="name">gate-\d</td>', html)) == 3
    assert "deployed-to" in html
    assert boxes(text_of(client, f"/{team}/reader/lineage")) == found
    assert "as a graph" in text_of(client, f"/{team}/reader/versions/v1")


def test_a_stranger_sees_the_public_part(client, reader, devices, team):
    client.force_login(make_user())
    html = text_of(client, f"/{team}/reader/lineage")
    assert set(boxes(html)) == {f"/{team}/reader/versions/v1", f"/{team}/child/versions/v1"}
    assert "digits" not in html
    assert "gate-" not in html
    assert client.get(f"/datasets/{team}/digits/lineage").status_code == 404


def test_a_dataset_shows_the_devices_that_run_what_was_trained_on_it(client, reader, devices, team, owner):
    client.force_login(owner)
    html = text_of(client, f"/datasets/{team}/digits/versions/v1/lineage")
    assert html.count('<td class="name">gate-') == 3
    assert boxes(html)[f"/{team}/child/versions/v1"] == "child@v1"


def test_what_is_too_large_is_shown_as_far_as_it_can_be_read(client, team, owner):
    base = commit_files(make_repository(team, owner, "base"), owner, {"w": b"1"})
    children = make_repository(team, owner, "children")
    first = commit_files(children, owner, {"w": b"0"})
    record_lineage(source=base, target=first, relation=Relation.FINE_TUNED_FROM, job=None)
    for number in range(1, 202):
        child = commit_files(children, owner, {"w": str(number).encode()})
        record_lineage(source=first, target=child, relation=Relation.FINE_TUNED_FROM, job=None)
    client.force_login(owner)
    html = text_of(client, f"/{team}/base/lineage")
    assert "within 1 step." in html
    assert len(boxes(html)) == 2
    assert "its first 200 edges next to v1" in text_of(client, f"/{team}/children/versions/v1/lineage")


def test_an_empty_repository_and_a_version_without_a_past_say_so(client, team, owner):
    repository = make_repository(team, owner, "new")
    client.force_login(owner)
    assert "Nothing has been committed here yet" in text_of(client, f"/{repository}/lineage")
    commit_files(repository, owner, {"w": b"1"})
    assert "Nothing is known yet" in text_of(client, f"/{repository}/lineage")
    assert client.get(f"/{repository}/versions/v9/lineage").status_code == 404


def test_the_page_costs_as_many_queries_whatever_it_shows(client, reader, devices, team, owner):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.force_login(owner)
    counts = []
    for number in range(3):
        with CaptureQueriesContext(connection) as queries:
            text_of(client, f"/{team}/reader/lineage")
        counts.append(len(queries))
        for more in range(4):
            child = commit_files(make_repository(team, owner, f"more-{number}-{more}"), owner, {"w": b"3"})
            record_lineage(source=reader, target=child, relation=Relation.PRUNED_FROM, job=None)
    assert len(set(counts)) == 1


def test_long_names_are_cut_in_their_middle():
    assert shortened("short@v1") == "short@v1"
    assert shortened("a-name-that-is-far-too-long-for-its-box@v12") == "a-name-tha…its-box@v12"
