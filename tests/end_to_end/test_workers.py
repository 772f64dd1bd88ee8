"""Workers started by hand: anywhere, with nothing but an address and a token."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steelyard_contracts.jobs import AttemptEnd, JobState
from steelyard_contracts.workers import Resources, WorkerState

pytestmark = [pytest.mark.end_to_end]
ON_BENCH = Resources(labels=["bench"])


def wait_until(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")


def attempts(hub, job):
    """Oldest first."""
    return sorted(hub.attempts(job.id), key=lambda one: one.number)


def log_of(hub, job):
    lines: list[str] = []
    after = 0
    while more := hub.logs(job.id, after=after):
        lines, after = [*lines, *(line.text for line in more)], more[-1].id
    return lines


@contextlib.contextmanager
def worker(installation, folder, *options, name="bench"):
    """`steelyard worker` of the team lab, in a process of its own."""
    told = ["issue_token", "--scope", "worker", "--name", name, "--team", "lab"]
    environment = {**installation.environment, "STEELYARD_WORKER_TOKEN": installation.manage(*told).strip()}
    program = str(Path(sys.executable).parent / "steelyard")
    command = [program, "worker", "--url", installation.url, "--name", name, "--folder", str(folder), *options]
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def test_one_command_makes_any_machine_a_worker(hub, installation, dataset, quick, tmp_path):
    job = hub.train(dataset=dataset, output="lab/benched", resources=ON_BENCH, **quick)
    assert job.message == "waits for a worker with bench; none is known"
    with worker(installation, tmp_path, "--labels", "bench") as process:
        assert hub.wait(job.id).state is JobState.SUCCEEDED
        seen = hub.workers.named("bench")
        assert (seen.team, seen.labels) == ("lab", ["bench", "cpu"])
        assert seen.capabilities.memory_gb > 0
        assert {"python", "torch"} <= seen.capabilities.versions.keys()
        assert "bench" not in {label for one in hub.workers.all() if one.name != "bench" for label in one.labels}
        long = hub.train(dataset=dataset, output="lab/benched", resources=ON_BENCH, **{**quick, "epochs": 5000})
        wait_until(lambda: hub.job(long.id).progress > 0)
        assert hub.workers.named("bench").job == long.id
        assert hub.workers.drain(seen.id).state is WorkerState.DRAINING
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (tmp_path / "worker.log").read_text()
    given_back = hub.job(long.id)
    assert given_back.state is JobState.QUEUED
    assert hub.workers.named("bench").state is WorkerState.STOPPED
    assert "bench" in installation.run("steelyard", "workers", "list", "--team", "lab").stdout
    hub.cancel(long.id)
    hub.workers.forget(seen.id)
    assert all(one.name != "bench" for one in hub.workers.all())


def test_a_worker_whose_token_opens_nothing_says_so(installation, tmp_path):
    environment = {**installation.environment, "STEELYARD_WORKER_TOKEN": "sy_nothing"}
    program = str(Path(sys.executable).parent / "steelyard")
    done = subprocess.run(
        [program, "worker", "--url", installation.url], env=environment, capture_output=True, text=True, cwd=tmp_path,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Invalid credentials" in done.stderr


def rank_processes(installation):
    """The processes of a group: the spawned children of a job's process."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    parents = {int(pid): int(parent) for pid, parent, _ in rows}

    def belongs(pid):
        while pid in parents and pid != installation.process.pid:
            pid = parents[pid]
        return pid == installation.process.pid

    return [int(pid) for pid, _, args in rows if "spawn_main" in args and belongs(int(pid))]


@pytest.mark.long
def test_processes_train_together_and_one_that_dies_is_made_up_for(hub, installation, dataset, quick):
    fields = {**quick, "epochs": 40, "checkpoint_every": 5}
    job = hub.train(dataset=dataset, output="lab/together", resources=Resources(processes=2), **fields)
    wait_until(lambda: hub.metrics(job.id).get("validation/accuracy", None) and hub.job(job.id).progress > 0.3)
    processes = rank_processes(installation)
    assert len(processes) == 2
    os.kill(processes[-1], signal.SIGKILL)
    final = hub.wait(job.id)
    assert final.state is JobState.SUCCEEDED, final.error
    assert final.attempt == 1
    assert any(line.startswith("going on after epoch") for line in log_of(hub, job))
    steps = hub.metrics(job.id)["validation/accuracy"].steps
    assert steps == [3 * epoch for epoch in range(1, 41)]  # three batches an epoch; none is missing, none doubled
    assert len(list(hub.versions("lab/together"))) == 1


@pytest.mark.long
def test_machines_train_together_and_go_on_without_one_that_dies_or_leaves(hub, installation, dataset, quick, tmp_path):
    """Three machines, two at a time: one is told to stop, one is killed, and no step is missing or done twice."""
    fields = {**quick, "epochs": 60, "checkpoint_every": 5}
    needs = Resources(labels=["pair"], hosts=2)
    with contextlib.ExitStack() as stack:
        machines = {}
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            started = worker(installation, tmp_path / name, "--labels", "pair", name=name)
            machines[name] = stack.enter_context(started)
            wait_until(lambda name=name: any(one.name == name for one in hub.workers.all()))
        job = hub.train(dataset=dataset, output="lab/spread", resources=needs, **fields)
        wait_until(lambda: hub.job(job.id).progress > 0.2)
        attempt = attempts(hub, job)[-1]
        assert set(attempt.worker.split(" + ")) == {"first", "second"}
        joined = attempt.worker.split(" + ")[1]
        machines[joined].send_signal(signal.SIGTERM)
        assert machines[joined].wait(60) == 0
        wait_until(lambda: attempts(hub, job)[0].ending is AttemptEnd.RELEASED)
        assert hub.job(job.id).state is JobState.QUEUED
        (tmp_path / "third").mkdir()
        machines["third"] = stack.enter_context(
            worker(installation, tmp_path / "third", "--labels", "pair", name="third")
        )
        wait_until(lambda: hub.job(job.id).attempt == 2 and hub.job(job.id).progress > 0.5)
        joined = attempts(hub, job)[1].worker.split(" + ")[1]
        machines[joined].kill()
        wait_until(lambda: attempts(hub, job)[1].ending in {AttemptEnd.FAILED, AttemptEnd.LOST})
        (tmp_path / "fourth").mkdir()
        stack.enter_context(worker(installation, tmp_path / "fourth", "--labels", "pair", name="fourth"))
        final = hub.wait(job.id)
    assert final.state is JobState.SUCCEEDED, final.error
    assert final.attempt == 3
    steps = hub.metrics(job.id)["validation/accuracy"].steps
    assert steps == [3 * epoch for epoch in range(1, 61)]
    assert len(list(hub.versions("lab/spread"))) == 1
    assert attempts(hub, job)[1].resumed_from is not None
    assert any("ended with status" in line for line in log_of(hub, job))
