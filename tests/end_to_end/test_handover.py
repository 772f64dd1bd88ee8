"""Out into a plain folder and in again: what comes back is what was there, and another export says the same."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from safetensors.numpy import save_file

from steelyard.handover.importer import bring, foresee
from steelyard.handover.mlflow_client import MLflowServer
from steelyard.handover.mlflow_sending import MLflowSender
from steelyard.handover.mlflow_writing import FAILED
from steelyard.handover.naming import Plan
from steelyard.handover.opening import Options, open_source
from steelyard.handover.source import (
    LocalFile,
    LoggedModel,
    Registered,
    SourceGoneError,
    SourceRepository,
    SourceRun,
    SourceVersion,
)
from steelyard.handover.writer import chosen, export
from steelyard_contracts.errors import ConflictError, DigestMismatchError, InvalidInputError, SteelyardError
from steelyard_contracts.refs import Ref, RepositoryKind

pytestmark = pytest.mark.end_to_end

CARD = "---\nbase_model: lab/hand-base\ndatasets: lab/stripes\ntags: [tried]\n---\n# The hand\n"
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def quiet(_line):
    """What people would see."""


def tree_of(folder):
    """Every file's path and content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def weights(folder, seed):
    folder.mkdir(exist_ok=True)
    numbers = np.random.default_rng(seed).normal(size=(600, 1000)).astype("float32")
    save_file({"w": numbers}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"seed": seed}))
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "sub" / "ä b.txt").write_text("the same in every version")
    (folder / "README.md").write_text(CARD)
    return folder


def evaluation(dataset):
    report = {
        "model": "lab/hand@v1",
        "dataset": dataset,
        "split": "validation",
        "runtime": "torch",
        "metrics": {"accuracy": 0.9},
        "intervals": {"accuracy": {"low": 0.8, "high": 0.95}},
        "task": "image-classification",
        "pictures": 20,
        "measures": {"classes": [{"label": "across", "support": 10, "measures": {"f1": 0.5}}]},
        "samples": [{"path": "a.png", "truth": "across", "answer": "down", "cost": 1.5, "picture": PICTURE}],
    }
    return {"at": "2021-05-05T05:05:05.123Z", "report": report}


def tell_run(hub):
    """A run that saved v3, with what is no number among its points."""
    call = hub.transport.call
    body = {
        "project": "lab/hand",
        "name": "exp 1/a",
        "config": {"lr": 0.1, "layers": [1, 2]},
        "source": "ultralytics",
        "environment": {"python": "3.11"},
        "git": {"commit": "abc", "branch": "main", "is_dirty": True, "remote": "https://git.example/x"},
        "datasets": ["datasets:/lab/stripes"],
        "key": str(uuid4()),
        "started_at": "2021-01-01T00:00:00Z",
        "tags": {"phase": "one"},
    }
    run = call("POST", "/api/v1/runs", body=body)["id"]
    points = [
        {"name": "loss", "step": step, "value": 1 / (step + 1), "timestamp": 1_600_000_000_000} for step in range(50)
    ]
    points.append({"name": "loss", "step": 50, "value": "NaN", "timestamp": 1_600_000_000_001})
    call("POST", f"/api/v1/runs/{run}/points", body={"points": points})
    call("POST", f"/api/v1/runs/{run}/lines", body={"lines": [{"number": 0, "text": "epoch 1"}]})
    call("POST", f"/api/v1/runs/{run}/versions", body={"version": "v3"})
    tell_as_mlflow(hub, UUID(run).hex)
    end = {"state": "succeeded", "result": {"best": 1}, "at": "2021-01-01T01:00:00Z"}
    call("POST", f"/api/v1/runs/{run}/finish", body=end)


def tell_as_mlflow(hub, run):
    """What MLflow's clients add: files of a run, a model that is logged and no version, words on a version."""
    api, files = "/mlflow/api/2.0/mlflow", "/mlflow/api/2.0/mlflow-artifacts/artifacts"
    call, server = hub.transport.call, MLflowServer.of_steelyard(hub.transport)

    def put(uri, path, data):
        hub.transport.send("PUT", f"{files}/{uri.removeprefix('mlflow-artifacts:/')}/{path}", data, "text/plain")

    put(server.needed_run(run)["info"]["artifact_uri"], "notes/ä b.txt", b"as I went along")
    experiment = (server.experiment("lab/hand") or {})["experiment_id"]
    body = {"name": "tree", "source_run_id": run, "experiment_id": experiment, "model_type": "forest"}
    body |= {"tags": [{"key": "kind", "value": "small"}], "params": [{"key": "depth", "value": "3"}]}
    info = call("POST", f"{api}/logged-models", body=body)["model"]["info"]
    put(info["artifact_uri"], "MLmodel", b"flavors: {}")
    end = {"model_id": info["model_id"], "status": "LOGGED_MODEL_READY"}
    call("PATCH", f"{api}/logged-models/{info['model_id']}", body=end)
    place = {"name": "lab/hand", "version": "3"}
    call("PATCH", f"{api}/model-versions/update", body={**place, "description": "the third"})
    call("POST", f"{api}/model-versions/set-tag", body={**place, "key": "checked", "value": "yes"})
    call("POST", f"{api}/registered-models/set-tag", body={"name": "lab/hand", "key": "owner", "value": "ada"})


@pytest.fixture(scope="session")
def filled(installation, dataset, tmp_path_factory):
    """`lab/hand`, with something of everything, and `lab/hand-base`, which it was made of."""
    import steelyard

    folder = tmp_path_factory.mktemp("hand")
    with steelyard.connect(installation.url, installation.token, quiet=True) as hub:
        hub.push(weights(folder / "base", 0), "lab/hand-base")
        for seed in (1, 2, 3):
            hub.push(weights(folder / "w", seed), "lab/hand", message=f"number {seed}")
        (folder / "w" / "config.json").unlink()
        hub.push(folder / "w" / "sub", "lab/hand", message="more")  # paths of its own: what is there stays
        for name, empty in (("v1-int8", True), ("try", False), ("idle", False)):
            body = {"name": name, "start": "v1", "empty": empty}
            hub.transport.call("POST", "/api/v1/models/lab/hand/branches", body=body)
        hub.push(folder / "w" / "model.safetensors", "lab/hand@v1-int8", message="int8")
        hub.push(folder / "w" / "sub" / "ä b.txt", "lab/hand@try", message="tried")
        hub.delete_version("lab/hand@v2")
        hub.tag("lab/hand@v1", "paper", message="as published\nthen")
        for label in ("v1", "v3"):
            hub.promote(f"lab/hand@{label}", "production", reason=f"{label} is good")
        hub.promote("lab/hand@v3", "gone")
        hub.delete_alias("lab/hand", "gone", reason="no more")
        hub.protect_alias("lab/hand", "production")
        hub.add_gate("lab/hand", "size_mb <= 100", applies_to="production")
        body = evaluation("datasets:/lab/stripes@v1")
        hub.transport.call("POST", "/api/v1/imports/models/lab/hand/versions/v1/evaluations", body=body)
        tell_run(hub)
        yield hub


def delete_for_good(hub, name):
    hub.delete_repository(name)
    for item in list(hub.trash.items("lab"))[::-1]:
        if item.label.split("@")[0] == name:
            hub.trash.empty(item.id)


def test_export_import_and_export_again_give_equal_trees(filled, tmp_path):
    hub, first, second = filled, tmp_path / "first", tmp_path / "second"
    done = export(hub, chosen(hub, "lab/hand"), first, say=quiet)
    assert (done.repositories, done.versions, done.runs, done.left_out) == (1, 5, 1, [])
    before = {one.version: (one.commit, one.author) for one in hub.versions("lab/hand")}
    delete_for_good(hub, "lab/hand")
    brought = bring(hub, open_source(str(first), Options()), Plan(), say=quiet)
    assert (brought.versions, brought.runs, brought.faults) == (5, 1, [])
    assert {one.version: (one.commit, one.author) for one in hub.versions("lab/hand")} == before
    export(hub, chosen(hub, "lab/hand"), second, say=quiet)
    assert tree_of(first) == tree_of(second)
    home = first / "models" / "lab" / "hand"
    assert (home / "runs" / "exp 1%2Fa" / "artifacts" / "notes" / "ä b.txt").read_bytes() == b"as I went along"
    assert (home / "logged-models" / "1" / "artifacts" / "MLmodel").read_bytes() == b"flavors: {}"
    found = MLflowServer.of_steelyard(hub.transport).versions("lab/hand")
    model = next(one for one in found if one["version"] == "3")
    assert (model["description"], model["tags"]) == ("the third", [{"key": "checked", "value": "yes"}])
    assert model["run_id"] == next(iter(hub.runs.list(project="lab/hand"))).id.hex
    assert not list(first.glob(".steelyard"))
    again = bring(hub, open_source(str(first), Options()), Plan(), say=quiet)
    assert (again.versions, again.records, again.runs, again.known) == (0, 0, 0, 5)


def test_a_person_reads_it_without_us(filled, tmp_path):
    folder = tmp_path / "out"
    export(filled, chosen(filled, "lab/hand"), folder, say=quiet)
    home = folder / "models" / "lab" / "hand"
    checked = subprocess.run(
        ["sha256sum", "-c", "../v1.sha256"], cwd=home / "versions" / "v1", capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert (home / "CARD.md").read_text() == CARD
    metrics = (home / "runs" / "exp 1%2Fa" / "metrics.csv").read_text().splitlines()
    assert (metrics[0], len(metrics), metrics[-1]) == ("metric,step,value,at", 52, "loss,50,nan,1600000000001")
    shared = [home / "versions" / label / "sub" / "ä b.txt" for label in ("v1", "v3")]
    assert len({path.stat().st_ino for path in shared}) == 1
    assert "versions/v3.sha256" in (folder / "README.md").read_text()
    moves = [json.loads(line) for line in (home / "alias-history.jsonl").read_text().splitlines()]
    assert [(move["alias"], move["to_version"], move["reason"]) for move in moves] == [
        ("production", "v1", "v1 is good"),
        ("production", "v3", "v3 is good"),
        ("gone", "v3", ""),
        ("gone", None, "no more"),
    ]


def test_an_export_that_broke_off_goes_on_and_fetches_nothing_twice(filled, tmp_path, monkeypatch):
    folder, whole = tmp_path / "broken", tmp_path / "whole"
    export(filled, chosen(filled, "lab/hand"), whole, say=quiet)

    class CutError(Exception):
        pass

    def break_off(line):
        if "@v3:" in line:
            raise CutError

    with pytest.raises(CutError):
        export(filled, chosen(filled, "lab/hand"), folder, say=break_off)
    (folder / "models/lab/hand/versions/v3.sha256").unlink()
    (folder / "models/lab/hand/versions/v3/sub/ä b.txt").unlink()
    (folder / "models/lab/hand/versions/v3/config.json").write_text("half of it")
    lines: list[str] = []
    export(filled, chosen(filled, "lab/hand"), folder, say=lines.append)
    assert not [line for line in lines if "@v1:" in line]
    assert tree_of(folder) == tree_of(whole)


def test_what_was_changed_since_is_refused_and_what_was_sent_goes_on(filled, tmp_path):
    folder = tmp_path / "changed"
    export(filled, chosen(filled, "lab/hand"), folder, say=quiet)
    file = folder / "models/lab/hand/versions/v3/config.json"
    kept = file.read_bytes()
    file.unlink()
    file.write_text("{}")
    with pytest.raises(DigestMismatchError, match=r"lab/hand@v3: .*config.json has the SHA-256"):
        bring(filled, open_source(str(folder), Options()), Plan(into="lab/hand-copy"), say=quiet)
    assert [one.version for one in filled.versions("lab/hand-copy")] == ["v1"]
    file.write_bytes(kept)
    done = bring(filled, open_source(str(folder), Options()), Plan(into="lab/hand-copy"), say=quiet)
    assert (done.known, done.versions, done.faults) == (1, 4, [])
    copied = filled.version("lab/hand-copy@v3")
    assert [edge.source for edge in copied.lineage if edge.relation == "trained-on"] == ["datasets:/lab/stripes@v1"]
    assert copied.aliases == ["production"]
    with pytest.raises(ConflictError, match="v1 is another version there already"):
        bring(filled, open_source(str(folder), Options()), Plan(into="lab/hand-base"), say=quiet)


def test_the_command_says_what_would_come_before_anything_does(installation, filled, tmp_path):
    installation.run("steelyard", "export", "lab/hand", str(tmp_path / "out"))
    outlook = installation.run(
        "steelyard", "import", str(tmp_path / "out"), "--into", "lab/hand-try", "--dry-run"
    ).stdout
    assert outlook.startswith("lab/hand → lab/hand-try: 5 versions (0 there already), ")
    assert "1 run" in outlook
    assert "aliases production" in outlook
    with pytest.raises(SteelyardError):
        filled.version("lab/hand-try")
    refused = installation.run("steelyard", "export", "lab/hand", str(tmp_path), check=False)
    assert "holds something else" in refused.stderr


def test_a_hub_and_a_folder_come_in_with_their_dates_and_only_once(installation, filled, tmp_path):
    source = ("hf:lab/hand", "--endpoint", installation.url, "--source-token", installation.token)
    command = ("steelyard", "import", *source, "--into", "lab/hand-from-hub")
    first = installation.run(*command, check=False)
    assert first.returncode == 3, first.stderr  # its other branches did not come, and that is said
    assert "other branches than main do not come" in first.stderr
    second = installation.run(*command, check=False).stdout
    assert second.endswith("0 new versions, 0 new runs, 0 new records; 3 versions there before.\n")
    there = {one["title"]: one["created_at"] for one in filled.transport.items("/api/v1/models/lab/hand/versions")}
    here = {
        one["title"]: one["created_at"] for one in filled.transport.items("/api/v1/models/lab/hand-from-hub/versions")
    }
    assert {title: at[:19] for title, at in here.items()} == {title: there[title][:19] for title in here}
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "w.txt").write_text("w")
    os.utime(tmp_path / "plain" / "w.txt", (1_577_836_800, 1_577_836_800))
    installation.run("steelyard", "import", str(tmp_path / "plain"), "--into", "lab/plain")
    (view,) = filled.transport.items("/api/v1/models/lab/plain/versions")
    assert datetime.fromisoformat(view["created_at"]) == datetime(2020, 1, 1, tzinfo=UTC)
    assert list(foresee(filled, open_source(str(tmp_path / "plain"), Options()), Plan(into="lab/plain"))) == [
        "plain → lab/plain: 1 version (1 there already), the newest with 1 B"
    ]


def test_a_whole_team_goes_out_and_a_name_for_all_of_it_is_refused(filled, tmp_path):
    folder = tmp_path / "team"
    done = export(filled, chosen(filled, "lab"), folder, say=quiet)
    assert done.repositories > 2
    assert (folder / "datasets" / "lab" / "stripes" / "repository.json").is_file()
    with pytest.raises(InvalidInputError, match="say --into TEAM"):
        list(foresee(filled, open_source(str(folder), Options()), Plan(into="lab/one")))
    lines = list(foresee(filled, open_source(str(folder), Options()), Plan(into="lab")))
    assert len([line for line in lines if " → " in line]) == done.repositories  # beside what was left out


def test_what_a_source_has_lost_costs_that_version_alone(hub, tmp_path):
    def lost():
        raise SourceGoneError("its files are gone")

    (tmp_path / "w.txt").write_text("weights")
    at = datetime(2020, 1, 1, tzinfo=UTC)
    common: dict[str, Any] = {"author": "grace", "created_at": at, "run": "able-ape"}
    gone = SourceVersion("v1", "one", tree=lost, number=1, **common)
    whole = SourceVersion("v2", "two", tree=lambda: {"w.txt": LocalFile(tmp_path / "w.txt")}, number=2, **common)
    source = SourceRepository(
        ref=Ref(RepositoryKind.MODEL, "lab", "half"),
        versions=[gone, whole],
        aliases=[{"name": "best", "version": "v1", "protected": False}],
        runs=[SourceRun("able-ape", "succeeded", at, at, files=lost)],
        logged=[LoggedModel("tree", run="able-ape", files=lost)],
    )
    done = bring(hub, SimpleNamespace(repositories=lambda: [source]), Plan(), say=quiet)
    assert (done.versions, done.runs) == (1, 1)
    assert sorted(done.faults) == [
        "files of the logged model tree: its files are gone",
        "files of the run able-ape did not come: its files are gone",
        "lab/half@v1: its files are gone",
        "the alias best of lab/half stands on v1, which did not come",
    ]
    assert [one.version for one in hub.versions("lab/half")] == ["v2"]


def source_of(name, versions, **more):
    return SourceRepository(ref=Ref(RepositoryKind.MODEL, "lab", name), versions=versions, **more)


def brought(hub, *sources):
    return bring(hub, SimpleNamespace(repositories=lambda: list(sources)), Plan(), say=quiet)


def test_a_version_that_was_left_out_once_never_becomes_the_newest(hub, tmp_path):
    def version(number):
        file = tmp_path / f"{number}.txt"
        file.write_text(f"weights {number}")
        at = datetime(2020, 1, number, tzinfo=UTC)
        return SourceVersion(f"c{number}", f"no. {number}", "grace", at, tree=lambda: {"w.txt": LocalFile(file)})

    first, second, third = map(version, (1, 2, 3))
    assert brought(hub, source_of("overtaken", [first, third])).versions == 2
    done = brought(hub, source_of("overtaken", [first, second, third]))
    assert (done.versions, done.known) == (0, 2)
    (fault,) = done.faults
    assert fault.startswith("lab/overtaken@c2: later versions are here already, and it would become the newest;")
    assert [one.title for one in hub.versions("lab/overtaken")] == ["no. 3", "no. 1"]


def test_a_run_comes_once_and_its_model_elsewhere_is_known_to_be_its(hub, tmp_path):
    (tmp_path / "w.txt").write_text("weights")
    at, files = datetime(2020, 1, 1, tzinfo=UTC), {"w.txt": LocalFile(tmp_path / "w.txt")}
    version = SourceVersion("v1", "one", "grace", at, tree=lambda: files, number=1, run="k2")
    model = source_of("registered", [version], registered=Registered())
    empty = source_of("unfilled", [], registered=Registered("to be filled"))
    parent = SourceRun("sweep", "succeeded", at, at, key="k1")
    child = SourceRun("trial", "succeeded", at + timedelta(1), at + timedelta(2), key="k2", parent="k1")
    child.registered.append((model, "v1"))
    trials = source_of("trials", [], runs=[child, parent])
    for new in (2, 0):
        assert (brought(hub, model, empty, trials).runs, len(list(hub.runs.list("lab/registered")))) == (new, 0)
    trial, sweep = hub.runs.list("lab/trials")
    assert trial.run.tags["mlflow.parentRunId"] == sweep.id.hex
    assert trial.result["version"] == "lab/registered@v1"
    found = hub.transport.call("GET", "/mlflow/api/2.0/mlflow/registered-models/get", query={"name": "lab/unfilled"})
    assert found["registered_model"]["description"] == "to be filled"


def logged_of(hub, project):
    """(its experiment, logged models, oldest first) as MLflow's clients are told."""
    server = MLflowServer.of_steelyard(hub.transport)
    experiment = server.experiment(project) or {}
    return experiment, list(server.logged_models(experiment["experiment_id"]))


def test_what_mlflow_ties_together_stays_so_through_a_folder(hub, tmp_path):
    (tmp_path / "w.txt").write_text("weights")
    at, files = datetime(2020, 1, 1, tzinfo=UTC), {"w.txt": LocalFile(tmp_path / "w.txt")}
    version = SourceVersion("v1", "one", "grace", at, tree=lambda: files, number=1)
    model = source_of("kin-net", [version], registered=Registered())
    read = {"dataset": {"name": "thirty", "digest": "abc", "source_type": "code", "source": "{}"}, "tags": []}
    parent = SourceRun("sweep", "succeeded", at, at, key="k1")
    child = SourceRun("trial", "succeeded", at + timedelta(1), at + timedelta(2), key="k2", parent="k1", inputs=[read])
    child.registered.append((model, "v1"))
    measure = {"key": "auc", "value": 0.5, "step": 3, "timestamp": 1_577_836_800_000, "run_id": "k2"}
    nets = [
        LoggedModel("net", run="k2", created_at=at, outputs=[("k2", 4)], metrics=[measure], files=lambda: files),
        LoggedModel("net", run="k2", created_at=at + timedelta(1), outputs=[("k1", 7)]),
        LoggedModel("cut", run="k2", created_at=at + timedelta(2), is_failed=True),
    ]
    trials = source_of("kin", [], runs=[parent, child], logged=nets, experiment_tags={"owner": "ada"})
    assert brought(hub, model, trials).faults == []
    assert brought(hub, model, trials).records == 0

    export(hub, [*chosen(hub, "lab/kin"), *chosen(hub, "lab/kin-net")], tmp_path / "out", say=quiet)
    assert bring(hub, open_source(str(tmp_path / "out"), Options()), Plan(into="ada"), say=quiet).faults == []
    for team in ("lab", "ada"):
        trial, sweep = hub.runs.list(f"{team}/kin")
        assert trial.run.tags["mlflow.parentRunId"] == sweep.id.hex
        assert trial.result["version"] == f"{team}/kin-net@v1"
        experiment, logged = logged_of(hub, f"{team}/kin")
        assert {"key": "owner", "value": "ada"} in experiment["tags"]
        first, second, third = (one["info"] for one in logged)
        assert first["creation_timestamp_ms"] == 1_577_836_800_000
        assert [one["status"] for one in (first, second, third)] == [*["LOGGED_MODEL_READY"] * 2, FAILED]
        (kept,) = logged[0]["data"]["metrics"]
        assert (kept["key"], kept["value"], kept["step"], kept["run_id"]) == ("auc", 0.5, 3, trial.id.hex)
        server = MLflowServer.of_steelyard(hub.transport)
        told, above = server.needed_run(trial.id.hex), server.needed_run(sweep.id.hex)
        assert told["inputs"]["dataset_inputs"] == [read]
        assert told["outputs"]["model_outputs"] == [{"model_id": first["model_id"], "step": 4}]
        assert above["outputs"]["model_outputs"] == [{"model_id": second["model_id"], "step": 7}]


def test_a_logged_model_that_was_left_half_is_completed_and_two_imports_make_it_once(hub, tmp_path, monkeypatch):
    (tmp_path / "w.txt").write_text("weights")
    at, files = datetime(2020, 1, 1, tzinfo=UTC), {"w.txt": LocalFile(tmp_path / "w.txt")}
    run = SourceRun("trial", "succeeded", at, at, key="k1")
    nets = [LoggedModel("net", run="k1", outputs=[("k1", step)], files=lambda: files) for step in range(4)]
    source = source_of("halves", [], runs=[run], logged=nets)
    plain, sent = MLflowSender._send_files, []

    def broken(self, uri, files):
        sent.append(uri)
        if len(sent) == 3:
            raise KeyboardInterrupt
        plain(self, uri, files)

    with monkeypatch.context() as patch:
        patch.setattr(MLflowSender, "_send_files", broken)
        with pytest.raises(KeyboardInterrupt):
            brought(hub, source)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: brought(hub, source), range(2)))
    assert all(one.faults == [] for one in both)
    _, logged = logged_of(hub, "lab/halves")
    assert [one["info"]["status"] for one in logged] == ["LOGGED_MODEL_READY"] * 4
    server = MLflowServer.of_steelyard(hub.transport)
    for one in logged:
        root = one["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
        assert [file["path"] for file in server.proxied_files(root)] == ["w.txt"]
    (view,) = hub.runs.list("lab/halves")
    made = server.needed_run(view.id.hex)["outputs"]["model_outputs"]
    assert sorted(one["step"] for one in made) == [0, 1, 2, 3]
