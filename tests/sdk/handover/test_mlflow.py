"""An MLflow server as the source of an import, from answers written by hand in the shapes of its REST API."""

from __future__ import annotations

import pytest

from steelyard.handover.mlflow import MLflow
from steelyard.handover.mlflow_client import MLflowServer
from steelyard_contracts.errors import InvalidInputError, NotFoundError

RUN = "0" * 31 + "1"
OTHER = "0" * 31 + "2"
THEN = 1_577_836_800_000


class Answers:
    """A transport of an MLflow server with one model, one experiment and two runs."""

    url = "http://mlflow"

    def call(self, method, path, *, body=None, query=None):
        asked = body or query or {}
        what = path.removeprefix("/api/2.0/mlflow/")
        answers = {
            "registered-models/get": lambda: {"registered_model": {"net": MODEL}[asked["name"]]},
            "model-versions/search": lambda: self.page({"name='net'": VERSIONS}[asked["filter"]], asked),
            "model-versions/get-download-uri": lambda: {"artifact_uri": URIS[asked["version"]]},
            "experiments/get-by-name": lambda: {"experiment": {"net": EXPERIMENT}[asked["experiment_name"]]},
            "runs/get": lambda: {"run": RUNS[asked["run_id"]]},
            "runs/search": lambda: {"runs": list(RUNS.values())},
            "metrics/get-history": lambda: self.page(HISTORY, asked),
            "logged-models/search": lambda: {"models": LOGGED},
            "artifacts/list": lambda: {"files": LISTED[asked["path"]]},
            "/api/2.0/mlflow-artifacts/artifacts": lambda: {"files": PROXIED[asked["path"]]},
        }
        try:
            return answers[what]()
        except KeyError:
            raise NotFoundError(f"{path} answered 404.") from None

    def page(self, rows, asked):
        """One row a page, to see that pages are followed."""
        name = "metrics" if "value" in rows[0] else "model_versions"
        start = int(asked.get("page_token", 0))
        following = {"next_page_token": str(start + 1)} if start + 1 < len(rows) else {}
        return {name: rows[start : start + 1], **following}


MODEL = {
    "name": "net",
    "creation_timestamp": THEN,
    "description": "the net",
    "aliases": [{"alias": "champion", "version": "2"}, {"alias": "lost", "version": "3"}],
}
EXPERIMENT = {"experiment_id": "7", "name": "net", "creation_time": THEN}
VERSIONS = [
    {"name": "net", "version": "3", "creation_timestamp": THEN + 2000},
    {
        "name": "net",
        "version": "2",
        "creation_timestamp": THEN + 1000,
        "user_id": "grace",
        "tags": [{"key": "checked", "value": "yes"}],
    },
    {"name": "net", "version": "1", "creation_timestamp": THEN, "run_id": RUN},
]
URIS = {
    "1": f"file:///mlruns/7/{RUN}/artifacts/model",
    "2": "mlflow-artifacts:/7/models/m-1/artifacts",
    "3": "s3://elsewhere/3",
}
LOGGED = [
    {
        "info": {"name": "tree", "source_run_id": RUN, "artifact_uri": "mlflow-artifacts:/7/models/m-1/artifacts"},
        "data": {"params": [{"key": "depth", "value": "3"}]},
    },
    {"info": {"name": "gone", "artifact_uri": "s3://elsewhere/m"}},
]
LISTED = {
    "": [{"path": "notes.txt", "is_dir": False}, {"path": "model", "is_dir": True}],
    "model": [{"path": "model/MLmodel", "is_dir": False}, {"path": "model/data", "is_dir": True}],
    "model/data": [{"path": "model/data/w.pth", "is_dir": False}],
}
PROXIED = {"7/models/m-1/artifacts": [{"path": "MLmodel", "is_dir": False}]}
HISTORY = [
    {"key": "loss", "value": 2.0, "step": 0, "timestamp": THEN},
    {"key": "loss", "value": "NaN", "step": 1, "timestamp": THEN + 5},
    {"key": "loss", "value": 0.5, "step": 1, "timestamp": THEN + 6},
]
RUNS = {
    RUN: {
        "info": {"run_id": RUN, "run_name": "able-ape", "status": "FINISHED", "start_time": THEN, "end_time": THEN + 9},
        "data": {
            "params": [{"key": "lr", "value": "0.1"}],
            "metrics": [{"key": "loss"}],
            "tags": [{"key": "mlflow.user", "value": "ada"}, {"key": "phase", "value": "one"}],
        },
    },
    OTHER: {"info": {"run_id": OTHER, "run_name": "busy-bee", "status": "RUNNING", "start_time": THEN}, "data": {}},
}


@pytest.fixture
def found():
    server = MLflowServer("http://mlflow", None, transport=Answers())
    (repository,) = MLflow("http://mlflow#net", server=server).repositories()
    return repository


def test_a_registered_model_keeps_the_numbers_dates_and_names_of_its_versions(found):
    assert (found.ref.name, found.created_at.timestamp()) == ("net", THEN / 1000)
    assert [(one.label, one.number, one.author) for one in found.versions] == [("v1", 1, "ada"), ("v2", 2, "grace")]
    assert found.versions[1].created_at.timestamp() == THEN / 1000 + 1
    assert found.versions[1].message == "the net\n\nchecked: yes"
    assert found.aliases == [{"name": "champion", "version": "v2", "protected": False}]


def test_what_cannot_come_is_said(found):
    assert "version 3 of net lies at s3://elsewhere/3, which the server does not serve" in found.faults
    assert "the alias lost stands on version 3, which cannot come" in found.faults
    assert "the run busy-bee has not ended" in found.faults


def test_files_are_found_in_a_run_and_in_the_servers_own_store(found):
    in_run, proxied = (version.tree() for version in found.versions)
    assert sorted(in_run) == ["MLmodel", "data/w.pth"]
    assert in_run["data/w.pth"].address == f"/get-artifact?run_uuid={RUN}&path=model%2Fdata%2Fw.pth"
    assert proxied["MLmodel"].address == "/api/2.0/mlflow-artifacts/artifacts/7/models/m-1/artifacts/MLmodel"


def test_a_run_comes_once_with_its_parameters_points_and_dates(found):
    (run,) = found.runs
    assert (run.name, run.state, run.author, run.config) == ("able-ape", "succeeded", "ada", {"lr": "0.1"})
    assert (run.started_at.timestamp(), run.finished_at.timestamp()) == (THEN / 1000, (THEN + 9) / 1000)
    assert run.tags == {"phase": "one", "mlflow.run_id": RUN}
    assert [(one.step, one.value, one.at) for one in run.points()] == [(0, 2.0, THEN), (1, 0.5, THEN + 6)]
    assert found.versions[0].run == run.key


def test_what_was_said_and_logged_besides_comes_along(found):
    assert found.registered.description == "the net"
    assert found.versions[1].registered.tags == {"checked": "yes"}
    assert sorted(found.runs[0].files()) == ["model/MLmodel", "model/data/w.pth", "notes.txt"]
    (logged,) = found.logged
    assert (logged.name, logged.run, logged.params, list(logged.files())) == ("tree", RUN, {"depth": "3"}, ["MLmodel"])
    assert "the logged model gone lies at s3://elsewhere/m, which the server does not serve" in found.faults


def test_names_that_are_one_here_are_told_apart():
    class Several(Answers):
        def call(self, method, path, *, body=None, query=None):
            if path.endswith("registered-models/search"):
                return {"registered_models": [{**MODEL, "name": name} for name in ("Net one", "net-one", "net one")]}
            if path.endswith("model-versions/search"):
                return {"model_versions": [VERSIONS[2]]}
            return {} if path.endswith("experiments/search") else super().call(method, path, body=body, query=query)

    server = MLflowServer("http://mlflow", None, transport=Several())
    found = MLflow("http://mlflow", server=server).repositories()
    assert [one.ref.name for one in found] == ["Net-one", "net-one-2", "net-one-3"]


def test_a_name_that_the_server_does_not_know_and_an_address_that_is_none_are_said():
    server = MLflowServer("http://mlflow", None, transport=Answers())
    with pytest.raises(NotFoundError, match="no model and no experiment 'x'"):
        MLflow("http://mlflow#x", server=server).repositories()
    with pytest.raises(InvalidInputError, match="no address of an MLflow server"):
        MLflow("host:5000#x")
