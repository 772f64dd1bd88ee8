"""A training of one's own against a real server: killed in mid-run and started again, offline, cancelled, resumed."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
import torch
from safetensors.torch import load_file

import steelyard
from steelyard.tracking import RunCancelled, sync
from steelyard_contracts.jobs import JobState
from tests.support.installations import RunningInstallation

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

FIVE_LINES = """
import steelyard, torch
model = torch.nn.Linear(4, 1)
run = steelyard.init(project="lab/PROJECT", name="five", config={"lr": 0.1}, datasets=["lab/stripes"])
for step in range(100):
    run.log({"loss": 1 / (step + 1), "lr": 0.1})
run.save(model)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One of the module's own, because it is killed."""
    running = RunningInstallation(tmp_path_factory.mktemp("tracking"))
    running.start("--without-compute")
    folder = tmp_path_factory.mktemp("data")
    for label in ("across", "down"):
        (folder / "train" / label).mkdir(parents=True)
        (folder / "train" / label / "0.png").write_bytes(label.encode())
    with steelyard.connect(running.url, running.token, quiet=True) as client:
        client.push(folder, "datasets:/lab/stripes")
    yield running
    running.stop()


@pytest.fixture
def hub(server):
    with steelyard.connect(server.url, server.token, quiet=True) as client:
        yield client


@pytest.fixture(autouse=True)
def _here(server, tmp_path, monkeypatch):
    monkeypatch.setenv("STEELYARD_URL", server.url)
    monkeypatch.setenv("STEELYARD_TOKEN", server.token)
    monkeypatch.setenv("STEELYARD_RUNS_FOLDER", str(tmp_path / "runs"))


def _values(hub, run, name):
    return [(point.step, point.value) for point in hub.runs.points(run, name)]


def _train_on(run):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run.log({"loss": 1.0}, step=0)
        time.sleep(0.05)


def test_five_lines_are_a_run_with_its_weights_and_lineage(server, hub, tmp_path):
    done = server.run("python", "-c", FIVE_LINES.replace("PROJECT", "plain"))
    assert "saved lab/plain@v1" in done.stderr
    (view,) = hub.runs.list("lab/plain")
    assert (view.state, view.result["version"], view.run.name) == (JobState.SUCCEEDED, "lab/plain@v1", "five")
    assert _values(hub, view.id, "loss") == [(step, 1 / (step + 1)) for step in range(100)]
    assert {"torch", "python", "host"} <= set(view.run.environment)
    weights = load_file(hub.pull("lab/plain@v1", tmp_path / "pulled") / "model.safetensors")
    assert set(weights) == {"weight", "bias"}
    (edge,) = [edge for edge in hub.lineage("lab/plain@v1") if not edge.declared]
    assert (edge.relation, edge.source) == ("trained-on", "datasets:/lab/stripes@v1")
    assert not list((tmp_path / "runs").glob("*/run.json"))
    shown = server.run("steelyard", "runs", "show", str(view.id)).stdout
    assert "five of lab/plain: succeeded" in shown
    assert "lab/plain" in server.run("steelyard", "runs", "list", "lab/plain").stdout


def test_a_server_that_is_killed_in_mid_run_loses_and_doubles_no_point(server, hub, tmp_path):
    run = steelyard.init(project="lab/killed", quiet=True)
    goes_on = threading.Event()

    def train():
        for step in range(3000):
            run.log({"loss": float(step)})
            run.write(f"step {step}")
            if step == 1000:
                goes_on.set()
            time.sleep(0.001)

    training = threading.Thread(target=train)
    training.start()
    goes_on.wait()
    server.kill()
    time.sleep(0.5)
    server.start("--without-compute")
    training.join()
    run.finish(patience=60)
    assert _values(hub, run.id, "loss") == [(step, float(step)) for step in range(3000)]
    texts, after = [], 0
    while lines := hub.logs(run.id, after=after):
        texts += [line.text for line in lines]
        after = lines[-1].id
    assert sorted(texts) == sorted(f"step {step}" for step in range(3000))
    assert hub.job(run.id).state is JobState.SUCCEEDED


def test_a_run_without_a_server_is_synced_once_by_the_command(server, hub, tmp_path):
    nowhere = {"STEELYARD_URL": "", "STEELYARD_TOKEN": ""}
    offline = {"STEELYARD_OFFLINE": "1", "STEELYARD_RUNS_FOLDER": str(tmp_path / "away"), **nowhere}
    server.run("python", "-c", FIVE_LINES.replace("PROJECT", "offline"), environment=offline)
    assert "lab/offline" not in {view.run.project for view in hub.runs.list()}
    carried_home = datetime.now(UTC)
    refused = server.run("steelyard", "sync", str(tmp_path / "away"), check=False, environment=nowhere)
    assert "No token" in refused.stderr
    command = ["steelyard", "sync", str(tmp_path / "away"), "--url", server.url]
    first = server.run(*command, environment={"STEELYARD_URL": ""})
    assert "is the run five" in first.stdout
    assert "saved lab/offline@v1" in first.stdout
    assert server.run("steelyard", "sync", str(tmp_path / "away")).stdout == ""
    (view,) = hub.runs.list("lab/offline")
    assert (view.state, len(_values(hub, view.id, "loss"))) == (JobState.SUCCEEDED, 100)
    assert view.started_at
    assert view.finished_at
    assert view.started_at <= view.finished_at < carried_home


def test_a_run_that_is_cancelled_on_its_page_ends_and_goes_on_when_it_is_resumed(hub):
    run = steelyard.init(project="lab/long", name="long", quiet=True)
    hub.cancel(run.id)
    with pytest.raises(RunCancelled), run:
        _train_on(run)
    assert hub.job(run.id).state is JobState.CANCELLED
    with steelyard.init(project="lab/long", name="long", resume=True, quiet=True) as again:
        again.log({"loss": 2.0})
        again.save({"w": torch.ones(2)})
    assert again.id == run.id
    view = hub.job(run.id)
    assert (view.state, view.attempt, _values(hub, run.id, "loss")) == (JobState.SUCCEEDED, 2, [(0, 1.0), (1, 2.0)])


def test_a_token_that_is_revoked_in_mid_run_stops_the_sending_and_not_the_training(server, hub, monkeypatch, capsys):
    weak, admin = (
        server.manage("issue_token", "--user", "ada", "--scope", scope, "--name", scope).strip().splitlines()[-1]
        for scope in ("write", "admin")
    )
    monkeypatch.setenv("STEELYARD_TOKEN", weak)
    run = steelyard.init(project="lab/revoked", name="revoked")
    run.log({"loss": 1.0})
    with steelyard.connect(server.url, admin, quiet=True) as owner:
        tokens = {one["name"]: one["id"] for one in owner.transport.call("GET", "/api/v1/tokens")["items"]}
        owner.transport.call("DELETE", f"/api/v1/tokens/{tokens['write']}", repeatable=False)
    for _ in range(40):
        run.log({"loss": 2.0})
        time.sleep(0.05)
    run.finish()
    said = capsys.readouterr().err
    assert said.count("nothing more is sent") == 1
    monkeypatch.setenv("STEELYARD_TOKEN", server.token)
    (found,) = sync(run.folder)
    assert found.fault == ""
    assert len(_values(hub, run.id, "loss")) == 41
