"""The SDK's export and import against the application in this process: small files, every kind of record."""

from __future__ import annotations

import json
import os

import httpx2
import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from steelyard.client import Client
from steelyard.handover.importer import bring
from steelyard.handover.naming import Plan
from steelyard.handover.opening import Options, open_source
from steelyard.handover.plain import user_name
from steelyard.handover.writer import chosen, export
from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.config.wsgi import application
from tests.support.factories import commit_files, make_repository, picture_dataset, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def hub(owner):
    """A client whose requests the application answers here, in the test's own transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    client = Client("http://testserver", token_for(owner), quiet=True)
    client.transport._http = httpx2.Client(
        transport=httpx2.WSGITransport(app=application),
        base_url="http://testserver",
        headers={"Authorization": f"Bearer {client.transport.token}"},
        follow_redirects=True,
    )
    yield client
    client.close()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def one_thread(monkeypatch):
    """Small files are fetched in the test's own thread, where its transaction is."""

    def fetch(transport, files, *, at_once):
        from steelyard.transfer.small import _fetch

        for one in files:
            _fetch(transport, one)

    monkeypatch.setattr("steelyard.handover.fetching.fetch_small", fetch)


@pytest.fixture
def model(owner, team, hub):
    dataset = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    picture_dataset(dataset, owner)
    repository = make_repository(team, owner, "reader")
    card = f"---\ndatasets: {dataset}\n---\n# Reader\n"
    for number in range(3):
        commit_files(repository, owner, {"w": b"%d" % number, "same": b"same", "README.md": card.encode()})
    hub.delete_version(f"{repository}@v2")
    hub.transport.call(
        "POST", f"/api/v1/models/{repository}/branches", body={"name": "v1-int8", "start": "v1", "empty": True}
    )
    hub.transport.call("POST", f"/api/v1/models/{repository}/branches", body={"name": "try", "start": "v1"})
    commit_files(repository, owner, {"w": b"int8"}, branch="v1-int8")
    commit_files(repository, owner, {"same": None}, branch="try")
    hub.tag(f"{repository}@v1", "paper", message="two\nlines")
    for label in ("v1", "v3"):
        hub.promote(f"{repository}@{label}", "production", reason=label)
    hub.add_gate(str(repository), "size_mb <= 1", applies_to="production")
    report = {
        "model": f"{repository}@v1",
        "dataset": f"datasets:/{dataset}@v1",
        "runtime": "torch",
        "metrics": {"accuracy": 0.5},
    }
    body = {"at": "2021-05-05T05:05:05.123Z", "report": report}
    hub.transport.call("POST", f"/api/v1/imports/models/{repository}/versions/v1/evaluations", body=body)
    edges = [{"relation": "trained-on", "source": f"datasets:/{dataset}@v1", "target": "v1"}]
    hub.transport.call("POST", f"/api/v1/imports/models/{repository}/lineage", body={"edges": edges})
    tell_run(hub, repository)
    return repository


def quiet(_line):
    """What people would see."""


def tell_run(hub, repository):
    call = hub.transport.call
    body = {"project": str(repository), "name": "exp/1", "config": {"lr": 0.1}, "started_at": "2021-01-01T00:00:00Z"}
    run = call("POST", "/api/v1/runs", body=body)["id"]
    points = [{"name": "loss", "step": 0, "value": 0.5, "timestamp": 5}, {"name": "loss", "step": 1, "value": "NaN"}]
    call("POST", f"/api/v1/runs/{run}/points", body={"points": points})
    call("POST", f"/api/v1/runs/{run}/lines", body={"lines": [{"number": 0, "text": "epoch 1"}]})
    call("POST", f"/api/v1/runs/{run}/versions", body={"version": "v3"})
    call("POST", f"/api/v1/runs/{run}/finish", body={"state": "failed", "error": "no", "at": "2021-01-01T01:00:00Z"})


def tree_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_goes_out_comes_in_and_goes_out_the_same(hub, model, one_thread, tmp_path):
    name = str(model)
    done = export(hub, chosen(hub, name), tmp_path / "one", say=quiet)
    assert (done.versions, done.runs, done.left_out) == (4, 1, [])
    hub.delete_repository(name)
    hub.trash.empty(next(item.id for item in hub.trash.items() if item.label == f"{name}@v2"))
    hub.trash.empty(next(item.id for item in hub.trash.items() if item.label == name))
    brought = bring(hub, open_source(str(tmp_path / "one"), Options()), Plan(), say=quiet)
    assert (brought.versions, brought.runs, brought.faults) == (4, 1, [])
    export(hub, chosen(hub, name), tmp_path / "two", say=quiet)
    assert tree_of(tmp_path / "two") == tree_of(tmp_path / "one")
    again = bring(hub, open_source(str(tmp_path / "one"), Options()), Plan(), say=quiet)
    assert (again.versions, again.records, again.runs, again.known) == (0, 0, 0, 4)


def test_under_another_name_everything_points_there(hub, model, one_thread, team, tmp_path):
    export(hub, chosen(hub, str(model)), tmp_path / "one", say=quiet)
    bring(hub, open_source(str(tmp_path / "one"), Options()), Plan(into=f"{team.name}/copy"), say=quiet)
    copy = f"{team.name}/copy"
    assert [one.version for one in hub.versions(copy)] == ["v5", "v4", "v3", "v1"]
    assert {one.version: one.aliases for one in [hub.version(f"{copy}@v3")]} == {"v3": ["production"]}
    moves = [(move.to_version, move.reason) for move in hub.alias_history(copy)]
    assert moves == [("v3", "v3"), ("v1", "v1")]
    export(hub, chosen(hub, copy), tmp_path / "two", say=quiet)
    run = json.loads((tmp_path / "two" / "models" / copy / "runs" / "exp%2F1" / "run.json").read_text())
    assert (run["state"], run["started_at"], run["error"]) == ("failed", "2021-01-01T00:00:00+00:00", "no")


def test_a_folder_that_was_only_touched_since_adds_nothing(hub, team, tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "w.txt").write_text("w")
    plan = Plan(into=f"{team.name}/net")
    for moment, made in ((1_577_836_800, 1), (1_577_836_800, 0), (1_577_840_000, 0)):
        os.utime(folder / "w.txt", (moment, moment))
        assert bring(hub, open_source(str(folder), Options()), plan, say=quiet).versions == made
    (folder / "w.txt").write_text("more")
    assert bring(hub, open_source(str(folder), Options()), plan, say=quiet).versions == 1
    assert [one.author for one in hub.versions(f"{team.name}/net")] == [user_name()] * 2


def test_a_team_that_is_not_there_is_said_with_the_way_out(hub, tmp_path):
    (tmp_path / "w.txt").write_text("w")
    with pytest.raises(NotFoundError, match="There is no team nowhere. Make it, or name another one: --into TEAM."):
        bring(hub, open_source(str(tmp_path), Options()), Plan(into="nowhere"), say=quiet)
