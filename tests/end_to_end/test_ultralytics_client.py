"""The real Ultralytics client against a real Steelyard: trainings, `ul://`, cancel, resume, and its SDK.

Networks are made from their YAML, pictures are drawn, and everything is small: nothing is fetched from elsewhere.
"""

from __future__ import annotations

import json
import shutil
import time

import pytest

from steelyard_contracts.jobs import JobState
from steelyard_contracts.weights import InspectionState, QuarantineState
from tests.conformance.ultralytics.client import Client
from tests.support.vision_datasets import draw_splits, write_yolo

pytestmark = [pytest.mark.long, pytest.mark.end_to_end, pytest.mark.timeout(1800)]
SMALL = ("imgsz=64", "batch=4", "workers=0", "device=cpu", "plots=True", "amp=False", "cache=False")


@pytest.fixture(scope="session")
def client(installation, tmp_path_factory):
    return Client(installation, tmp_path_factory.mktemp("ultralytics"))


@pytest.fixture(scope="session")
def registry(installation):
    import steelyard

    with steelyard.connect(installation.url, installation.token, quiet=True) as hub:
        yield hub


@pytest.fixture(scope="session")
def shapes(registry, tmp_path_factory):
    """`lab/ulshapes`: 12 pictures with boxes, as YOLO lays them out."""
    root = write_yolo(tmp_path_factory.mktemp("ulshapes"), draw_splits({"train": 8, "val": 4}))
    registry.push(root, "datasets:/lab/ulshapes")
    return "ul://lab/datasets/ulshapes"


@pytest.fixture(scope="session")
def first(client, registry, shapes):
    """The run of a first training, with what the client printed."""
    printed = client.yolo(
        "detect",
        "train",
        f"data={shapes}",
        "model=yolo11n.yaml",
        "epochs=2",
        "project=lab/ulshelf",
        "name=exp1",
        *SMALL,
    )
    return run_called(registry, "exp1"), printed


def runs_of(registry):
    """The jobs of kind `run`, newest first."""
    return [job for job in registry.jobs(team="lab") if job.run is not None and job.run.project == "lab/ulshelf"]


def run_called(registry, name):
    return next((job for job in runs_of(registry) if job.run is not None and job.run.name == name), None)


def test_a_training_is_live_and_its_weights_are_a_version(registry, first):
    run, printed = first
    job = registry.job(run.id)
    assert job.state is JobState.SUCCEEDED, printed
    names, texts = registry.metrics(run.id), [line.text for line in registry.logs(run.id)]
    assert {"train/box_loss", "metrics/mAP50_B"} <= set(names)
    assert any("Epoch" in line or "box_loss" in line for line in texts), texts
    version = registry.version(job.result["version"])
    assert version.files == 3  # best.pt, plots.json, README.md
    assert any(edge.relation == "trained-on" and "lab/ulshapes@v1" in edge.source for edge in version.lineage)
    assert {one.runtime for one in version.evaluations} == {"ultralytics"}


def test_the_pickled_network_is_scanned_listed_and_converted(registry, first):
    run, _ = first
    ref = registry.job(run.id).result["version"]
    inspection = registry.inspect(ref)
    assert inspection.state is InspectionState.DONE
    assert sum(model.tensors for model in inspection.models) > 100
    assert registry.quarantine(ref).state is QuarantineState.QUARANTINED
    conversion = next(job for job in registry.jobs(team="lab") if job.kind == "convert" and job.spec.model == ref)
    done = registry.wait(conversion.id)
    assert done.state is JobState.SUCCEEDED, done.error
    assert done.result["files"]["best.pt"]["tensors"] > 100


def test_a_second_training_starts_from_the_first(client, registry, first, shapes):
    client.yolo(
        "detect", "train", f"data={shapes}", "model=ul://lab/ulshelf/exp1", "epochs=1", "project=lab/ulshelf",
        "name=exp1", *SMALL,
    )  # fmt: skip
    newest, former = [job for job in runs_of(registry) if job.run is not None and job.run.name.startswith("exp1")]
    assert former.id == first[0].id
    edges = registry.version(newest.result["version"]).lineage
    assert registry.job(first[0].id).result["version"] in {e.source for e in edges if e.relation == "fine-tuned-from"}


def test_a_classifier_trains_on_folders_of_classes(client, registry, dataset):
    client.yolo(
        "classify", "train", "data=ul://lab/datasets/stripes", "model=yolo11n-cls.yaml", "epochs=1",
        "project=lab/ulshelf", "name=stripes", *SMALL,
    )  # fmt: skip
    assert "accuracy" in registry.job(run_called(registry, "stripes").id).result


def start_long(client, registry, shapes, name):
    """A training that would take minutes, once it has reported an epoch: its process and its run."""
    process = client.start(
        "yolo", "detect", "train", f"data={shapes}", "model=yolo11n.yaml", "epochs=300", "project=lab/ulshelf",
        f"name={name}", "save_period=1", *SMALL,
    )  # fmt: skip
    run = wait_for(lambda: run_called(registry, name))
    wait_for(lambda: registry.job(run.id).progress > 0)
    return process, run


def test_a_cancelled_training_ends_within_an_epoch(client, registry, shapes):
    process, run = start_long(client, registry, shapes, "cancelled")
    try:
        registry.cancel(run.id)
        process.wait(300)
    finally:
        process.kill()
    job = registry.job(run.id)
    assert job.state is JobState.CANCELLED
    assert job.progress < 0.5
    assert "version" in job.result  # of its own branch: what it had


def test_a_training_that_was_killed_goes_on_as_the_same_run(client, registry, shapes):
    process, run = start_long(client, registry, shapes, "killed")
    (last,) = wait_for(lambda: list(client.folder.rglob("killed/weights/last.pt")))
    process.kill()
    process.wait(60)
    before = registry.job(run.id).progress
    again = client.start("yolo", "detect", "train", f"model={last}", "resume=True")
    try:
        wait_for(lambda: registry.job(run.id).progress > before)
        registry.cancel(run.id)
        again.wait(300)
    finally:
        again.kill()
    assert registry.job(run.id).attempt == 2
    assert registry.job(run.id).state is JobState.CANCELLED


def wait_for(found):
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.2)
    raise AssertionError("it did not come to that within three minutes")


INGEST = """
import json, os, time, urllib.request
from ultralytics_platform import Platform
path = os.environ["ARCHIVE"]
with Platform(base_url=os.environ["ULTRALYTICS_PLATFORM_URL"]) as platform:
    made = platform.datasets.create(owner="lab", dataset="packed", name="packed", task="detect")
    data = open(path, "rb").read()
    signed = platform.upload.signed_url(
        body={"assetType": "datasets", "assetId": made["id"], "filename": "packed.zip", "totalBytes": len(data),
              "contentType": "application/zip"}
    )
    request = urllib.request.Request(signed["uploadUrl"], data, signed.get("headers", {}), method="PUT")
    urllib.request.urlopen(request).close()
    asked = platform.datasets.ingest("lab", "packed", body={"sessionId": signed["sessionId"]})
    found = {"status": "processing"}
    while found["status"] == "processing":
        time.sleep(0.5)
        found = platform.datasets.retrieve("lab", "packed")["dataset"]
    print(json.dumps([asked, found]))
"""


def test_an_archive_that_the_sdk_sends_is_a_dataset_to_train_on(client, registry, tmp_path, monkeypatch):
    folder = write_yolo(tmp_path / "packed", draw_splits({"train": 8, "val": 4}))
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "packed")
    monkeypatch.setenv("ARCHIVE", archive)
    asked, found = json.loads(client.run("-c", INGEST).strip().splitlines()[-1])
    job = registry.job(asked["jobId"])
    assert job.state is JobState.SUCCEEDED, job.error
    assert (found["status"], found["task"], found["imageCount"]) == ("ready", "detect", 12)
    pulled = registry.pull("datasets:/lab/packed", tmp_path / "pulled")
    sent = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert sent.items() <= {p.relative_to(pulled): p.read_bytes() for p in pulled.rglob("*") if p.is_file()}.items()
    client.yolo(
        "detect", "train", "data=ul://lab/datasets/packed", "model=yolo11n.yaml", "epochs=1", "project=lab/ulshelf",
        "name=packed", *SMALL,
    )  # fmt: skip
    assert registry.job(run_called(registry, "packed").id).state is JobState.SUCCEEDED


SDK = """
import json
from ultralytics_platform import APIError, Platform
import os
with Platform(base_url=os.environ["ULTRALYTICS_PLATFORM_URL"]) as platform:
    made = platform.projects.create(project="sdk-shelf", name="sdk-shelf", owner="lab")
    platform.projects.update("lab", "sdk-shelf", description="Made by the SDK.")
    found = platform.projects.retrieve("lab", "sdk-shelf")["project"]
    model = platform.models.create(body={"owner": "lab", "project": "sdk-shelf", "model": "mine", "name": "mine"})
    try:
        platform.training.start(model_id=model["id"], train_args={})
    except APIError as error:
        refusal = [error.status_code, error.json["error"]]
    platform.projects.delete("lab", "sdk-shelf")
    item = platform.lifecycle.trash(type="project")["items"][0]
    platform.lifecycle.restore(id=item["_id"], type="project")
    print(json.dumps([made["project"], found["description"], model["model"], refusal]))
"""


def test_the_sdk_and_its_command(client, first):
    project, description, model, refusal = json.loads(client.run("-c", SDK).strip().splitlines()[-1])
    assert (project, description, model) == ("sdk-shelf", "Made by the SDK.", "mine")
    assert refusal[0] == 501
    listed = json.loads(client.ul("cloud", "models", "owner=lab", "project=ulshelf"))
    assert "exp1" in {one["model"] for one in listed["models"]}
    exported = json.loads(client.ul("cloud", "datasets", "export", "owner=lab", "dataset=ulshapes"))
    assert exported["version"] == 1
