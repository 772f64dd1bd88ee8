"""An unmodified MLflow client: what it logs, registers, searches and loads again."""

from __future__ import annotations

import json

import pytest

from tests.support.mlflow_client import run_client

# Making the client's environment takes a minute, and each script imports mlflow anew.
pytestmark = [pytest.mark.end_to_end, pytest.mark.long]

AUTOLOG = """
import json, mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
mlflow.set_experiment("lab/iris")
mlflow.sklearn.autolog()
features, labels = load_iris(return_X_y=True)
with mlflow.start_run(run_name="fit") as run:
    LogisticRegression(C=0.5, max_iter=200).fit(features, labels)
found = mlflow.get_run(run.info.run_id)
[again] = mlflow.MlflowClient().search_runs(
    [run.info.experiment_id], "metrics.training_accuracy_score > 0.9 AND params.C = '0.5'"
)
print(json.dumps({
    "id": run.info.run_id, "status": found.info.status, "metrics": found.data.metrics, "params": found.data.params,
    "same": again.info.run_id == run.info.run_id, "inputs": len(found.inputs.dataset_inputs),
    "models": len(found.outputs.model_outputs),
    "artifacts": sorted(one.path for one in mlflow.MlflowClient().list_artifacts(run.info.run_id)),
}))
"""

TORCH = """
import json, mlflow, torch
torch.manual_seed(0)
mlflow.set_experiment("torch trials")
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
example = torch.randn(3, 4)
with mlflow.start_run() as run:
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_params({"lr": 0.1, "layers": 2})
    mlflow.set_tag("by", "hand")
    mlflow.pytorch.log_model(net, name="net", registered_model_name="net", pip_requirements=["torch"],
                             serialization_format="pickle")
client = mlflow.MlflowClient()
client.set_registered_model_alias("net", "production", "1")
client.set_model_version_tag("net", "1", "checked", "yes")
loaded = mlflow.pytorch.load_model("models:/net@production")
assert torch.equal(net(example), loaded(example))
[version] = client.search_model_versions("name = 'net'")
history = client.get_metric_history(run.info.run_id, "loss")
print(json.dumps({
    "version": version.version, "aliases": list(version.aliases), "run": version.run_id == run.info.run_id,
    "history": [(point.step, point.value) for point in history],
    "models": [one.name for one in client.search_registered_models("name LIKE 'n%'")],
}))
"""

PARTS = """
import os, pathlib, mlflow
os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = str(1024 * 1024)
os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(5 * 1024 * 1024)
data = os.urandom(12 * 1024 * 1024)
pathlib.Path("large.bin").write_bytes(data)
with mlflow.start_run() as run:
    mlflow.log_artifact("large.bin", "deep/er")
    mlflow.log_text("hello", "notes.txt")
    mlflow.log_dict({"a": 1}, "deep/a.json")
back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="deep/er/large.bin")
assert pathlib.Path(back).read_bytes() == data
print(sorted(one.path for one in mlflow.MlflowClient().list_artifacts(run.info.run_id, "deep")))
"""

LOADED_BY_ANOTHER = """
import mlflow
try:
    mlflow.pytorch.load_model("models:/ada.net@production")
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def net(installation, folder):
    """What the client says after it has logged, registered and loaded a model of torch's."""
    return json.loads(run_client(installation, folder, TORCH).strip().splitlines()[-1])


def test_what_autolog_logs_of_a_fit_is_a_run_of_the_project(installation, folder, hub):
    said = json.loads(run_client(installation, folder, AUTOLOG).strip().splitlines()[-1])
    assert said["status"] == "FINISHED"
    assert said["metrics"]["training_accuracy_score"] > 0.9
    assert said["params"]["C"] == "0.5"
    assert said["same"]
    assert (said["inputs"], said["models"]) == (1, 1)
    assert "training_confusion_matrix.png" in said["artifacts"] or "estimator.html" in said["artifacts"]
    [job] = [one for one in hub.jobs() if one.id.hex == said["id"]]
    assert (job.kind, job.state) == ("run", "succeeded")


def test_a_logged_model_is_registered_moved_to_an_alias_and_loaded(net, hub):
    assert net == {
        "version": "1",
        "aliases": ["production"],
        "run": True,
        "history": [[step, 1 / (step + 1)] for step in range(5)],
        "models": ["net"],
    }
    assert [(alias.name, alias.version) for alias in hub.aliases("ada/net")] == [("production", "v1")]


def test_large_files_go_in_parts_and_come_back(installation, folder):
    assert run_client(installation, folder, PARTS).strip().endswith("['deep/a.json', 'deep/er']")


def test_whoever_may_not_read_it_is_told_nothing(installation, folder, net):
    stranger = installation.bootstrap("mallory", "elsewhere")
    said = run_client(installation, folder, LOADED_BY_ANOTHER, token=stranger)
    assert "not found, or you may not read it" in said
