"""A training through everything that happens to machines in a night: it ends once, with the curve of a quiet night.

One installation, and workers of the test's own that reach it through a switchboard, which can be cut.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import steelyard
from steelyard.transport import Transport
from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.jobs import AttemptEnd, Claim, ClaimRequest, Finish, JobState
from tests.support.installations import RunningInstallation, is_at_a_job
from tests.support.s3 import S3Server
from tests.support.switchboard import Switchboard

pytestmark = [pytest.mark.end_to_end, pytest.mark.long]

LEASE = 6
EPOCHS = 40
STEPS = EPOCHS * 3  # three batches an epoch
SETTINGS = {"STEELYARD_LEASE_SECONDS": str(LEASE), "STEELYARD_MAX_ATTEMPTS": "10"}


def wait_until(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


class Night:
    """An installation without workers, a switchboard before it, and at most one worker at a time."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.installation = RunningInstallation(folder / "hub", {**SETTINGS, **(settings or {})})
        self.installation.start("--without-compute")
        self.board = Switchboard(self.installation.port)
        self.folder = folder / "worker"
        self.folder.mkdir()
        issued = self.installation.manage("issue_token", "--scope", "worker", "--name", "night")
        self.token = issued.strip().splitlines()[-1]
        self.hub = steelyard.connect(self.installation.url, self.installation.token, quiet=True)
        self.worker: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> None:
        """Unless it is there."""
        if self.worker is not None and self.worker.poll() is None:
            return
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("STEELYARD_")},
            "STEELYARD_URL": self.board.url,
            "STEELYARD_WORKER_TOKEN": self.token,
            "STEELYARD_WORKER_FOLDER": str(self.folder),
            "STEELYARD_BROKER_FOLDER": str(self.installation.var / "broker"),
            "HF_XET_CACHE": str(self.folder / "xet"),
        }
        options = ["--queues", "compute", "--pool", "solo", "--concurrency", "1", "--without-gossip"]
        quiet = ["--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        module = "steelyard_workers.celery_entry"
        command = [sys.executable, "-m", "celery", "--quiet", "--app", module, "worker", *options, *quiet]
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def stop_worker(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.worker is not None
        self.worker.send_signal(number)
        self.worker.wait(60)

    def child(self) -> int:
        """The process that does the job."""
        assert self.worker is not None
        children = psutil.Process(self.worker.pid).children(recursive=True)
        return next(process.pid for process in children if is_at_a_job(process))

    def goes_on(self, job, seconds: float = 90.0) -> int:
        """Until the newest attempt has reported a step beyond its checkpoint; returns its number."""

        def is_further() -> int:
            newest = next(self.hub.attempts(job.id), None)
            steps = self.steps(job)
            return newest.number if newest and not newest.ended_at and steps > (newest.resumed_from or 0) + 4 else 0

        return int(wait_until(is_further, seconds))

    def steps(self, job) -> int:
        found = self.hub.metrics(job.id).get("train/loss")
        return int(found.steps[-1]) if found else 0

    def ending(self, job, number: int):
        """The attempt, once it has ended."""
        return wait_until(lambda: next(one for one in self.hub.attempts(job.id) if one.number == number).ending)

    def close(self) -> None:
        if self.worker is not None and self.worker.poll() is None:
            self.worker.kill()
            self.worker.wait()
        self.hub.__exit__(None, None, None)
        self.board.close()
        self.installation.stop()


@pytest.fixture(scope="module")
def night(tmp_path_factory, stripes):
    made = Night(tmp_path_factory.mktemp("night"))
    made.hub.push(stripes, "datasets:/lab/stripes")
    yield made
    made.close()


def train(night, quick, output, **fields):
    wanted = {**quick, "epochs": EPOCHS, "checkpoint_every": 1, "seed": 5, **fields}
    return night.hub.train(dataset="lab/stripes", output=output, **wanted)


def kill_child(night, job, number):
    os.kill(night.child(), signal.SIGKILL)


def kill_worker(night, job, number):
    night.stop_worker(signal.SIGKILL)
    night.start_worker()


def take_the_machine_away(night, job, number):
    night.stop_worker(signal.SIGTERM)
    assert night.worker is not None
    assert night.worker.returncode == 0
    night.start_worker()


def hold_the_network(night, job, number):
    night.board.hold()
    night.ending(job, number)
    night.board.mend()


def test_a_bad_night_ends_as_a_quiet_one(night, quick):
    night.start_worker()
    bad = train(night, quick, "lab/bad-night")
    faults = {
        kill_child: AttemptEnd.FAILED,
        kill_worker: AttemptEnd.LOST,
        take_the_machine_away: AttemptEnd.RELEASED,
        hold_the_network: AttemptEnd.LOST,
    }
    for fault, ending in faults.items():
        number = night.goes_on(bad)
        fault(night, bad, number)
        assert night.ending(bad, number) == ending
    # A web process that dies costs an attempt at most: when it is away for longer than the lease.
    night.goes_on(bad)
    night.board.cut()
    for pid in night.installation.web_processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    night.installation.wait()
    night.board.mend()
    final = night.hub.wait(bad.id)
    assert final.state is JobState.SUCCEEDED, final.error
    assert final.attempt in {len(faults) + 1, len(faults) + 2}

    quiet = night.hub.wait(train(night, quick, "lab/quiet-night").id)
    assert quiet.attempt == 1
    curves, expected = night.hub.metrics(bad.id), night.hub.metrics(quiet.id)
    for name in ("train/loss", "validation/loss", "validation/accuracy"):
        assert curves[name] == expected[name]
    assert curves["train/loss"].steps[-1] == STEPS
    assert len(list(night.hub.versions("lab/bad-night"))) == 1
    weights = [
        (night.hub.pull(f"lab/{name}@v1", night.folder / name) / "model.safetensors").read_bytes()
        for name in ("bad-night", "quiet-night")
    ]
    assert weights[0] == weights[1]

    rows = list(night.hub.attempts(bad.id))[::-1]
    assert [row.ending for row in rows[: len(faults)]] == list(faults.values())
    assert rows[-1].ending is AttemptEnd.SUCCEEDED
    begun_at = [row.resumed_from or 0 for row in rows]
    assert begun_at == sorted(begun_at)
    assert begun_at[1] > 0
    assert "was killed" in rows[0].why
    assert rows[2].why == "The worker was told to stop."


def test_stop_keeps_the_best_and_a_cancelled_training_is_resumed(night, quick):
    night.start_worker()
    job = train(night, quick, "lab/stopped", epochs=5000)
    night.goes_on(job)
    night.hub.stop(job.id)
    final = night.hub.wait(job.id)
    assert (final.state, final.stopped_early) == (JobState.SUCCEEDED, True), final.error
    assert night.hub.version("lab/stopped@v1").files >= 3

    job = train(night, quick, "lab/cancelled", epochs=5000)
    night.goes_on(job)
    night.installation.run("steelyard", "jobs", "cancel", str(job.id))
    assert night.hub.wait(job.id).state is JobState.CANCELLED
    before = night.steps(job)
    night.installation.run("steelyard", "jobs", "resume", str(job.id), "--no-wait")
    night.goes_on(job)
    newest = next(night.hub.attempts(job.id))
    assert newest.resumed_from is not None
    assert newest.resumed_from >= before - 3  # told to leave, it saved where it was
    night.hub.cancel(job.id)
    assert night.hub.wait(job.id).state is JobState.CANCELLED
    night.installation.run("steelyard", "jobs", "clone", str(job.id), "--set", "epochs=1", "--set", "output=lab/cloned")
    assert night.hub.version("lab/cloned@v1").files >= 3


@pytest.mark.service("s3")
def test_a_store_that_goes_away_costs_checkpoints_and_not_the_run(stripes, quick, tmp_path):
    store = S3Server(tmp_path / "store")
    store.start()
    night = Night(tmp_path, store.settings("night"))
    try:
        night.hub.push(stripes, "datasets:/lab/stripes")
        night.start_worker()
        job = train(night, quick, "lab/without-a-store", epochs=5000)
        number = night.goes_on(job)
        before = night.steps(job)
        store.stop()
        wait_until(lambda: night.steps(job) > before + 30)  # ten epochs, each with a checkpoint
        store.start()
        saved = night.hub.job(job.id).progress
        wait_until(lambda: night.hub.job(job.id).progress > saved)
        night.hub.stop(job.id)
        final = night.hub.wait(job.id)
        assert (final.state, final.attempt) == (JobState.SUCCEEDED, number), final.error
        steps = night.hub.metrics(job.id)["train/loss"].steps
        assert steps[0] == 1
        assert night.hub.version("lab/without-a-store@v1").files >= 3
        assert (night.hub.pull("lab/without-a-store@v1", tmp_path / "pulled") / "model.safetensors").is_file()
    finally:
        night.close()
        store.stop()


@pytest.mark.parametrize("claimers", [8])
def test_of_many_workers_at_once_one_gets_the_job(racing, stripes, quick, claimers):
    """On both databases; the same message five times over is the same as so many workers."""
    token = racing.manage("issue_token", "--scope", "worker", "--name", "racing").strip().splitlines()[-1]
    with steelyard.connect(racing.url, racing.token, quiet=True) as hub:
        hub.push(stripes, "datasets:/lab/stripes")
        job = hub.train(dataset="lab/stripes", output="lab/raced", **quick)
    got, refused, barrier = [], [], threading.Barrier(claimers)

    def claim(number):
        transport = Transport(racing.url, token)
        barrier.wait()
        try:
            body = ClaimRequest(worker=f"host:{number}")
            got.append(transport.post(Claim, f"/api/v1/jobs/{job.id}/claim", body, repeatable=False))
        except SteelyardError as error:
            refused.append(error.code)
        finally:
            transport.close()

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(claimers)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(got) == 1
    assert refused == ["conflict"] * (claimers - 1)
    transport = Transport(racing.url, got[0].token)
    said = [
        transport.call("POST", f"/api/v1/jobs/{job.id}/finish", body=Finish(state=JobState.SUCCEEDED))["state"]
        for _ in range(2)
    ]
    transport.close()
    assert said == ["succeeded", "succeeded"]
