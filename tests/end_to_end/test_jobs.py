"""Jobs on a real worker: from a dataset to variants, through kills and cancels."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

import steelyard
from steelyard.records import LogLine
from steelyard_contracts.errors import GateRefusedError
from steelyard_contracts.jobs import JobState
from tests.support.installations import command_of

pytestmark = [pytest.mark.end_to_end]


def wait_until(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def succeed(hub, job):
    final = hub.wait(job.id)
    assert final.state is JobState.SUCCEEDED, final.error
    return final


def test_from_a_dataset_to_measured_variants(hub, dataset, stripes, quick):
    trained = succeed(hub, hub.train(dataset=dataset, output="lab/reader", **{**quick, "epochs": 6}, seed=1))
    assert trained.result["version"] == "lab/reader@v1"
    version = hub.version("lab/reader@v1")
    assert {edge.relation for edge in version.lineage} == {"trained-on", "evaluated-on"}
    assert hub.metrics(trained.id)["validation/accuracy"].values[-1] >= 0.5
    assert any("epoch 6/6" in line.text for line in hub.logs(trained.id))

    measured = succeed(hub, hub.evaluate("lab/reader@v1", dataset))
    assert measured.result["accuracy"] == pytest.approx(trained.result["accuracy"], abs=0.051)
    found = hub.evaluations.detail("lab/reader@v1", next(iter(hub.evaluations.of("lab/reader@v1"))).id)
    assert found.pictures == 20
    assert [row.label for row in found.measures.classes] == ["across", "down"]
    assert found.intervals["accuracy"].low <= found.metrics["accuracy"] <= found.intervals["accuracy"].high
    assert len(found.samples) == 12
    hub.add_gate("lab/reader", f"accuracy >= 1.01 on {dataset}@v1", applies_to="never")
    with pytest.raises(GateRefusedError, match="at least 1.01 is asked"):
        hub.promote("lab/reader@v1", "never")
    hub.promote("lab/reader@v1", "production", reason="the first")

    wanted = {"model": "lab/reader@production", "dataset": dataset, "max_accuracy_drop": 1.0}
    made = succeed(hub, hub.optimise(**wanted)).result
    assert set(hub.version("lab/reader@v1").variants) == {"v1-onnx-fp32", "v1-onnx-fp16", "v1-onnx-int8"}
    for name in ("onnx-fp32", "onnx-fp16", "onnx-int8"):
        variant = hub.version(f"lab/reader@{made[name]['version']}")
        assert variant.evaluations[0].runtime == "onnxruntime-cpu"
        assert variant.evaluations[0].environment["instructions"]

    said = hub.predict("lab/reader@v1", [stripes / "validation" / "down" / "0.png"])
    assert said.version == f"lab/reader@{made['onnx-fp32']['version']}"
    assert {one.label for one in said.pictures[0].labels} == {"across", "down"}


def test_a_variant_that_loses_too_much_is_refused(hub, dataset, quick):
    succeed(hub, hub.train(dataset=dataset, output="lab/strict", **quick))
    wanted = {"model": "lab/strict@v1", "dataset": dataset, "variants": ["onnx-fp32"], "max_accuracy_drop": 0.0}
    result = succeed(hub, hub.optimise(**wanted)).result
    assert "version" in result["onnx-fp32"] or "refused" in result["onnx-fp32"]
    assert result["onnx-fp32"]["accuracy_drop"] <= 0.0 or "refused" in result["onnx-fp32"]


def compute_workers(installation):
    own = [process for process in installation.processes() if process.ppid() == installation.process.pid]
    return [process.pid for process in own if "celery_entry worker --queues compute " in command_of(process)]


LONG = {"epochs": 10_000, "checkpoint_every": 5}


def epochs_in(hub, job):
    texts = [line.text for line in all_lines(hub, job)]
    return [int(found.group(1)) for text in texts if (found := re.match(r"epoch (\d+)/", text))]


def resumed_after(hub, job):
    """The epoch after which a later attempt went on; none while there is no such attempt."""
    found = (re.match(r"going on after epoch (\d+)", line.text) for line in all_lines(hub, job))
    return next((int(one.group(1)) for one in found if one), None)


def all_lines(hub, job):
    lines: list[LogLine] = []
    while more := hub.logs(job.id, after=lines[-1].id if lines else 0):
        lines += more
    return lines


def only_job(installation):
    """The process of the training, once no other job is at work beside it, such as an inspection."""
    processes = installation.job_processes()
    return processes[0] if len(processes) == 1 else None


@pytest.mark.parametrize("victim", ["worker", "child"])
def test_kill_9_in_the_middle_goes_on_from_the_last_checkpoint(hub, installation, dataset, quick, victim):
    fields = {**quick, "epochs": 10_000, "checkpoint_every": 5}
    job = hub.train(dataset=dataset, output=f"lab/killed-{victim}", seed=5, **fields)
    wait_until(lambda: max(epochs_in(hub, job), default=0) >= 12)
    doomed = compute_workers(installation)[0] if victim == "worker" else wait_until(lambda: only_job(installation))
    os.kill(doomed, signal.SIGKILL)
    resumed = wait_until(lambda: resumed_after(hub, job))
    assert resumed >= 10
    wait_until(lambda: max(epochs_in(hub, job)) >= resumed + 10)
    hub.stop(job.id)
    assert succeed(hub, job).attempt == 2
    steps = hub.metrics(job.id)["validation/accuracy"].steps
    whole = [3 * epoch for epoch in range(1, len(steps))]  # three batches an epoch: none missing, none doubled
    assert steps[:-1] == whole
    assert whole[-1] < steps[-1] <= whole[-1] + 3  # where it was told to stop
    assert len(list(hub.versions(f"lab/killed-{victim}"))) == 1


def test_what_is_cancelled_ends_and_commits_nothing(hub, installation, dataset, quick):
    job = hub.train(dataset=dataset, output="lab/cancelled", **{**quick, **LONG})
    wait_until(lambda: epochs_in(hub, job))
    hub.cancel(job.id)
    assert hub.wait(job.id).state is JobState.CANCELLED
    wait_until(lambda: not installation.job_processes())
    assert list(hub.versions("lab/cancelled")) == []


def test_a_job_that_cannot_be_done_fails_with_a_sentence(hub, tmp_path, stripes, quick):
    import shutil

    shutil.copytree(stripes, tmp_path / "data")
    (tmp_path / "data" / "train" / "down" / "0.png").write_bytes(b"no picture")
    hub.push(tmp_path / "data", "datasets:/lab/broken-picture")
    final = hub.wait(hub.train(dataset="lab/broken-picture", output="lab/none", **quick).id)
    assert final.state is JobState.FAILED
    assert final.error.startswith("The picture train/down/0.png cannot be read")
    assert final.attempt == 1


def test_the_command_line_walks_the_story(installation, dataset, stripes, tmp_path):
    def run(*arguments, check=True):
        return installation.run("steelyard", *arguments, check=check)

    run("login", "--url", installation.url, "--token", installation.token)
    assert "lab: administrator" in run("whoami").stdout
    run("push", str(stripes), "datasets:/lab/by-cli", "-m", "Stripes")
    run("train", "lab/by-cli", "lab/cli-reader", "--epochs", "1", "--batch-size", "8")
    assert "validation" not in run("show", "lab/cli-reader@v1").stderr
    run("promote", "lab/cli-reader@v1", "production")
    assert "production" in run("show", "lab/cli-reader@production").stdout
    pulled = run("pull", "models:/lab/cli-reader@production", str(tmp_path / "down")).stdout.strip()
    assert (tmp_path / "down" / "model.safetensors").exists(), pulled
    assert "succeeded" in run("jobs", "list", "--team", "lab").stdout
    refused = run("promote", "lab/nothing@v1", "production", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: There is no model lab/nothing")
    assert "Traceback" not in refused.stderr


def test_a_stopped_server_leaves_no_process_and_loses_nothing(tmp_path, stripes):
    from tests.support.installations import RunningInstallation

    own = RunningInstallation(tmp_path / "own")
    own.start()
    with steelyard.connect(own.url, own.token, quiet=True) as hub:
        hub.push(stripes, "datasets:/lab/kept")
    started = own.processes()
    assert len(started) >= 6  # the supervisor, the web and its workers, light jobs, beat, compute
    own.stop()
    assert [process for process in started if process.is_running()] == []
    own.start("--without-compute")
    with steelyard.connect(own.url, own.token, quiet=True) as hub:
        assert hub.version("datasets:/lab/kept@v1").files == 40
    own.stop()
