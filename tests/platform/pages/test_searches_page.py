"""The pages of searches without a browser: who sees them, what they sort by, and their buttons."""

from __future__ import annotations

import pytest

from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.searches import SearchSpec, TrialState
from steelyard_contracts.training import TrainSpec
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs.search_models import Search, Trial
from steelyard_platform.jobs.searches import request_search
from steelyard_platform.jobs.trials import advance_search
from tests.support.factories import make_repository, make_user, picture_dataset

pytestmark = pytest.mark.django_db
SPACE = {
    "learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "freeze": {"kind": "choices", "choices": ["none"]},
}


@pytest.fixture
def search(owner, team):
    picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    train = TrainSpec(dataset=f"{team}/digits", output=f"{team}/reader")
    spec = SearchSpec.model_validate({"train": train, "space": SPACE, "trials": 60, "name": "<b>rates</b>"})
    made = request_search(spec=spec, actor=actor_for_user(owner))
    advance_search(made.pk)
    for number, value in ((2, 0.7), (3, 0.9), (4, None)):
        state = TrialState.FAILED if value is None else TrialState.COMPLETE
        params = {"learning_rate": 10.0**-number, "freeze": "none"}
        Trial.objects.create(search=made, number=number, params=params, state=state, value=value)
    Search.objects.filter(pk=made.pk).update(best=Trial.objects.get(number=3), importance={"learning_rate": 0.75})
    return made


def places(html, *texts):
    found = [html.index(text) for text in texts]
    return found == sorted(found)


def test_a_search_is_seen_by_its_team_alone(client, search, owner):
    for path in ("/searches", f"/searches/{search.pk}"):
        assert client.get(path).status_code == 302
    client.force_login(make_user())
    assert str(search.pk) not in client.get("/searches").content.decode()
    for path in ("", "/status", "/trials.json"):
        assert client.get(f"/searches/{search.pk}{path}").status_code == 404
    client.force_login(owner)
    assert str(search.pk) in client.get("/searches").content.decode()
    html = client.get(f"/searches/{search.pk}").content.decode()
    assert "&lt;b&gt;rates&lt;/b&gt;" in html
    assert "<b>0.9</b>" in html
    assert "75 %" in html


def test_trials_are_sorted_by_any_column_and_those_without_a_value_come_last(client, search, owner):
    client.force_login(owner)
    pages = {
        sort: client.get(f"/searches/{search.pk}/status?sort={sort}").content.decode()
        for sort in ("value", "-value", "params.learning_rate", "params.freeze", "nonsense", "-pk")
    }
    assert places(pages["-value"], "<td>0.9</td>", "<td>0.7</td>", 'class="pill failed"')
    assert places(pages["value"], "<td>0.7</td>", "<td>0.9</td>", 'class="pill failed"')
    assert places(pages["params.learning_rate"], "<td>0.0001</td>", "<td>0.001</td>", "<td>0.01</td>")
    assert 'aria-sort="descending"' in pages["-value"]


def test_the_charts_data_names_each_axis(client, search, owner):
    client.force_login(owner)
    data = client.get(f"/searches/{search.pk}/trials.json").json()
    assert data["axes"] == [
        {"name": "freeze", "log": False, "choices": ["none"]},
        {"name": "learning_rate", "log": True, "choices": None},
    ]
    assert [one["value"] for one in data["trials"]] == [None, 0.7, 0.9, None]
    assert data["final"] is False


def test_buttons_stop_cancel_and_resume(client, search, owner):
    client.force_login(owner)
    for verb, body, state in (
        ("stop", {}, "stopping"),
        ("cancel", {}, "cancelled"),
        ("resume", {"trials": "5"}, "running"),
    ):
        assert client.post(f"/searches/{search.pk}/{verb}", body).status_code == 302
        assert Search.objects.get(pk=search.pk).state == state
    assert client.post(f"/searches/{search.pk}/resume", {"trials": "many"}).status_code == 400
    assert client.post(f"/searches/{search.pk}/explode").status_code == 400
    assert client.get(f"/searches/{search.pk}/stop").status_code == 405


def test_a_page_that_is_open_when_a_search_ends_gets_the_other_buttons_once(client, search, owner):
    client.force_login(owner)
    address = f"/searches/{search.pk}"
    assert "Cancel the search" in client.get(address).content.decode()
    assert "/cancel" not in client.get(f"{address}/status?seen=running").content.decode()
    client.post(f"{address}/cancel")
    refreshed = client.get(f"{address}/status?seen=running").content.decode()
    assert 'hx-swap-oob="true"' in refreshed
    assert "More trials" in refreshed
    assert "Cancel the search" not in refreshed
    assert "More trials" not in client.get(f"{address}/status?seen=cancelled").content.decode()
    client.force_login(make_user())
    assert client.get(f"{address}/status?seen=running").status_code == 404


def test_versions_are_links(client, search, owner):
    client.force_login(owner)
    Search.objects.filter(pk=search.pk).update(version="lab/reader@v7")
    Trial.objects.filter(search=search, number=3).update(version="lab/reader@v7")
    html = client.get(f"/searches/{search.pk}").content.decode()
    assert html.count('<a href="/lab/reader/versions/v7">lab/reader@v7</a>') == 2


def test_a_search_is_begun_by_a_form_that_says_what_is_wrong_and_keeps_what_was_said(client, search, owner, team):
    client.force_login(owner)
    assert "learning_rate=1e-4..1e-1:log" in client.get("/searches/new").content.decode()
    said = {
        "vary": "learning_rate=1e-4..1e-1:log\n\nbatch_size=16,32",
        "dataset": f"{team}/digits",
        "output": f"{team}/reader",
        "epochs": "3",
        "pruner": "none",
        "search-trials": "4",
        "search-metric": "train/loss",
        "search-direction": "minimize",
    }
    refused = client.post("/searches/new", said | {"vary": "learning_rate"})
    assert refused.status_code == 400
    html = refused.content.decode()
    assert "no NAME=VALUE" in html
    assert 'name="search-metric" value="train/loss"' in html
    assert "This cannot be searched" in client.post("/searches/new", said | {"vary": "colour=1,2"}).content.decode()
    twice = client.post("/searches/new", said | {"vary": "epochs=2,3\nepochs=4,5"}).content.decode()
    assert "is to vary in two ways" in twice
    assert Search.objects.count() == 1
    begun = client.post("/searches/new", said)
    made = Search.objects.exclude(pk=search.pk).get()
    assert begun.headers["Location"] == f"/searches/{made.pk}"
    spec = SearchSpec.model_validate(made.spec)
    assert sorted(spec.space) == ["batch_size", "learning_rate"]
    assert (spec.trials, spec.metric, spec.direction, spec.pruner, spec.train.epochs) == (
        4, "train/loss", "minimize", None, 3,
    )  # fmt: skip
