"""A training of one's own reports: what it writes, what is sent of it, and how it ends; without a network."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import steelyard
from steelyard.tracking import endings
from steelyard.tracking.delivery import Delivery
from steelyard.tracking.run import RunCancelled
from steelyard.tracking.spool import SEGMENT_BYTES, Place, Spool
from steelyard.tracking.syncing import sync
from steelyard_contracts.errors import (
    AuthenticationError,
    InvalidInputError,
    TokenExpiredError,
    UnavailableError,
)
from steelyard_contracts.jobs import JobView
from steelyard_contracts.tracking import RunAnswer

# A thread of the program's own trains on when its main thread has come to its end.
_LATE = """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.3), run.log({"late": 1}))).start()
"""
RUN = "6a5c2c1e-0000-4000-8000-000000000001"


class FakeServer:
    """Takes what a client sends; `failures` are raised first, one for each request."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], object] = {}
        self.lines: dict[int, str] = {}
        self.changes: list[dict[str, Any]] = []
        self.finished: dict[str, Any] | None = None
        self.failures: list[Exception] = []
        self.requests = 0
        self.is_cancelled = False
        self.transport = self
        self.answers_to_start: list[Exception] = []

    def send(self, method, path, body, content_type="application/json"):
        self._fail()
        if path.endswith("/points"):
            for point in json.loads(body)["points"]:
                self.points[point["name"], point["step"]] = point["value"]
        elif path.endswith("/lines"):
            self.lines |= {line["number"]: line["text"] for line in json.loads(body)["lines"]}
        elif method == "PATCH":
            self.changes.append(json.loads(body))
        return RunAnswer(cancel=self.is_cancelled).model_dump()

    def post(self, model, path, body, *, repeatable=False):
        self._fail()
        if path.endswith("/finish"):
            self.finished = body
        now = "2026-01-01T00:00:00Z"
        return JobView.model_validate(
            {
                "id": RUN, "kind": "run", "state": "running", "team": "lab", "spec": {"kind": "run"}, "attempt": 1,
                "progress": 0, "message": "", "created_by": "ada", "created_at": now, "started_at": now,
                "finished_at": None, "cancel_requested": False, "result": {}, "error": None,
                "run": {
                    "name": "exp-2", "project": "lab/shelf", "source": "steelyard", "tags": {}, "environment": {},
                    "git": None, "total_steps": None, "heard_at": now, "is_silent": False,
                },
            }
        )  # fmt: skip

    def _fail(self):
        self.requests += 1
        if self.failures:
            raise self.failures.pop(0)

    def close(self):
        pass


@pytest.fixture
def server():
    return FakeServer()


@pytest.fixture(autouse=True)
def _no_leftovers():
    yield
    for run in list(endings._watched.values()):
        endings.forget(run)


@pytest.fixture
def run(tmp_path):
    return steelyard.init("lab/shelf", config={"lr": 0.1}, offline=True, folder=tmp_path, quiet=True)


def _send(run, server):
    """Everything that the run has written."""
    (found,) = sync(run.folder, client=server)
    return found


def test_numbers_of_every_kind_are_points_and_steps_count_themselves(run, server):
    run.log({"loss": 1, "val": {"acc": np.float32(0.5)}, "tensor": torch.tensor(2.0), "ok": True})
    run.log({"loss": math.nan, "mAP50(B)\n": -math.inf})
    run.log({"loss": 3.0}, step=10)
    run.log({"loss": 4.0})
    run.finish()
    _send(run, server)
    assert server.points == {
        ("loss", 0): 1.0, ("val/acc", 0): 0.5, ("tensor", 0): 2.0, ("ok", 0): 1.0, ("loss", 1): "NaN",
        ("mAP50_B", 1): "-Infinity", ("loss", 10): 3.0, ("loss", 11): 4.0,
    }  # fmt: skip


def test_what_is_no_number_is_left_out_and_said_once(tmp_path, capsys):
    run = steelyard.init("lab/shelf", offline=True, folder=tmp_path)
    for _ in range(2):
        run.log({"note": "good", "many": [1, 2]})
    said = capsys.readouterr().err
    assert said.count("'note' is no number (str); it is left out.") == 1
    assert said.count("'many' is no number (list)") == 1
    with pytest.raises(TypeError, match=r"run.log takes numbers by their names, .* not 5"):
        run.log(5)  # type: ignore[arg-type]


def test_a_step_beyond_the_last_one_is_the_last_one_and_loses_nothing(run, server):
    run.log({"loss": 1.0}, step=2**63)
    run.log({"loss": 2.0, "other": 3.0})
    run.finish()
    _send(run, server)
    assert server.points == {("loss", 2**62 - 1): 2.0, ("other", 2**62 - 1): 3.0}


def test_pictures_become_samples_and_lines_a_log(run, server):
    run.log({"seen": Image.new("RGB", (8, 6))}, step=2)
    run.write("first\nsecond\rthird")
    run.write("x" * 9000)
    (sample,) = (run.folder / "samples").iterdir()
    assert sample.read_bytes().startswith(b"\x89PNG")
    run.finish()
    assert _send(run, server).fault == ""
    assert [server.lines[number][:6] for number in sorted(server.lines)] == [
        "first",
        "second",
        "third",
        "xxxxxx",
        "xxxxxx",
    ]


def test_a_configuration_is_anything_with_names_and_grows(tmp_path, server):
    run = steelyard.init(
        "lab/shelf", config=argparse.Namespace(lr=1, bad=math.inf), offline=True, folder=tmp_path, quiet=True
    )
    assert run.config == {"lr": 1, "bad": "Infinity"}
    run.config["epochs"] = 3
    run.config.update({"lr": 2}, seed=1)
    run.update(tags={"who": "ada"}, message="warm")
    run.finish()
    _send(run, server)
    changes = {key: value for change in server.changes for key, value in change.items() if key != "environment"}
    assert {"epochs": 3} in [change.get("config") for change in server.changes]
    assert (changes["config"], changes["tags"], changes["message"]) == ({"lr": 2, "seed": 1}, {"who": "ada"}, "warm")
    with pytest.raises(TypeError, match="A configuration is a dict"):
        steelyard.init("lab/shelf", config=3, offline=True, folder=tmp_path)


def test_the_end_is_sent_after_everything_and_the_folder_goes(run, server):
    run.log({"loss": 1.0})
    run.finish(result={"accuracy": 0.9})
    found = _send(run, server)
    assert (found.name, found.run, found.fault) == ("exp-2", RUN, "")
    assert server.finished is not None
    assert (server.finished["state"], server.finished["result"], server.finished["attempt"]) == (
        "succeeded",
        {"accuracy": 0.9},
        1,
    )
    assert not run.folder.exists()


def test_a_program_that_was_killed_leaves_everything_and_its_run_ends_as_failed(tmp_path, server):
    script = (
        "import os, signal, steelyard\n"
        f"run = steelyard.init('lab/shelf', offline=True, folder={str(tmp_path)!r}, quiet=True)\n"
        "for step in range(100):\n"
        "    run.log({'loss': step})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -9
    (found,) = sync(tmp_path, client=server)
    assert found.fault == ""
    assert len(server.points) == 100
    assert server.finished is not None
    assert (server.finished["state"], server.finished["error"]) == ("failed", "The program ended without a word.")


@pytest.mark.parametrize(
    ("ending", "state", "error"),
    [
        ("pass", "succeeded", None),
        ("raise ValueError('bad loss')", "failed", "ValueError: bad loss"),
        ("raise KeyboardInterrupt", "cancelled", None),
        ("run.finish('failed', error='gave up')", "failed", "gave up"),
        (_LATE, "succeeded", None),
    ],
)
def test_a_run_ends_as_its_program_does(tmp_path, server, ending, state, error):
    begin = f"run = steelyard.init('lab/shelf', offline=True, folder={str(tmp_path)!r}, quiet=True)"
    script = f"import steelyard\n{begin}\n{ending}\n"
    subprocess.run([sys.executable, "-c", script], check=False, stderr=subprocess.DEVNULL)
    list(sync(tmp_path, client=server))
    assert server.finished is not None
    assert (server.finished["state"], server.finished["error"]) == (state, error)
    if "late" in ending:
        assert ("late", 0) in server.points
    if error == "ValueError: bad loss":
        assert "Traceback" in server.lines[0]


def test_a_run_as_context_ends_with_it(tmp_path, server):
    with (
        pytest.raises(ZeroDivisionError),
        steelyard.init("lab/shelf", offline=True, folder=tmp_path, quiet=True) as run,
    ):
        run.log({"x": 1 / 0})
    _send(run, server)
    assert server.finished is not None
    assert server.finished["error"] == "ZeroDivisionError: division by zero"


def test_a_process_that_was_forked_off_says_nothing_of_the_run(run, server):
    child = os.fork()
    if child == 0:
        run.log({"loss": 666.0})
        run.finish()
        os._exit(0)
    os.waitpid(child, 0)
    run.log({"loss": 1.0})
    run.finish()
    _send(run, server)
    assert server.points == {("loss", 0): 1.0}


def test_a_server_that_is_away_gets_everything_when_it_is_back(run, server):
    for step in range(12_000):
        run.log({"loss": step})
    run.finish()
    server.failures = [UnavailableError("away")]
    (first,) = sync(run.folder, client=server)
    assert "Try again later" in first.fault
    spool = Spool(run.folder, most_bytes=2**30)
    delivery = Delivery(spool, server)
    delivery.begin()
    assert delivery.send()
    server.failures = [UnavailableError("away")]
    with pytest.raises(UnavailableError):
        delivery.send()
    spool.close()
    assert 0 < len(server.points) < 12_000
    (second,) = sync(run.folder, client=server)
    assert second.fault == ""
    assert len(server.points) == 12_000


def test_what_the_server_never_takes_is_set_aside_and_the_rest_is_sent(run, server):
    run.log({"loss": 1.0})
    run.update(progress=7)
    run.log({"loss": 2.0})
    run.finish()
    run._around.join()
    real = server.send

    def send(method, path, body, content_type="application/json"):
        if b'"progress": 7' in body:
            raise InvalidInputError("A progress is from 0 to 1.")
        return real(method, path, body, content_type)

    server.send = send
    found = _send(run, server)
    assert found.fault == "A progress is from 0 to 1."
    assert b"progress" in (run.folder / "refused.jsonl").read_bytes()
    assert server.points == {("loss", 0): 1.0, ("loss", 1): 2.0}
    assert server.finished is not None


def test_a_line_that_was_torn_is_skipped(run, server):
    run.log({"loss": 1.0})
    run._spool.add(b'p2 {"name":"x","st\n')
    run.log({"loss": 2.0})
    run.finish()
    assert _send(run, server).fault == ""
    assert server.points == {("loss", 0): 1.0, ("loss", 1): 2.0}


def test_files_of_events_go_when_they_were_sent_and_a_full_spool_says_so(tmp_path):
    spool = Spool(tmp_path / "one", most_bytes=2 * SEGMENT_BYTES)
    line = b"l " + b'{"x":"' + b"y" * 1_000_000 + b'"}\n'
    taken = sum(spool.add(line) for _ in range(40))
    assert 16 <= taken <= 18
    assert spool.dropped == 40 - taken
    place, read = Place(), 0
    while (found := spool.read(place))[1]:
        start, lines = found
        place, read = Place(start.segment, start.offset + sum(map(len, lines))), read + len(lines)
    assert read == taken
    spool.note_sent(spool.sent().__class__(run=RUN, place=place))
    spool._full_until = 0.0
    assert spool.add(line)


def test_a_run_that_is_being_written_is_left_alone(run, server):
    script = f"from steelyard.tracking import sync\nprint(*(one.fault for one in sync({str(run.folder)!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "a program is writing to it" in done.stdout


# --- while it runs ---------------------------------------------------------------------------------


@pytest.fixture
def online(tmp_path, server, monkeypatch):
    """A run whose thread sends to the fake server."""
    said: list[str] = []
    monkeypatch.setattr("steelyard.tracking.sending._EVERY", 0.01)
    monkeypatch.setenv("STEELYARD_URL", "http://steelyard.test")
    monkeypatch.setenv("STEELYARD_TOKEN", "sy_test")
    monkeypatch.setattr("steelyard.tracking.starting.Client", lambda *_, **__: _Closing(server))
    monkeypatch.setattr("steelyard.tracking.starting._say", said.append)
    run = steelyard.init("lab/shelf", name="exp", folder=tmp_path)
    return run, said


class _Closing:
    """A client of the fake server's."""

    def __init__(self, server) -> None:
        self.transport = server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        pass


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_run_is_sent_while_it_trains_and_leaves_nothing_behind(online, server):
    run, said = online
    assert (run.id, run.name, said) == (RUN, "exp-2", [f"run exp-2, http://steelyard.test/jobs/{RUN}"])
    run.log({"loss": 1.0})
    _until(lambda: server.points)
    run.log({"loss": 2.0})
    run.finish()
    assert server.points == {("loss", 0): 1.0, ("loss", 1): 2.0}
    assert server.finished is not None
    assert not run.folder.exists()
    assert any("environment" in change for change in server.changes)


def test_a_token_that_expires_is_said_once_and_training_goes_on(online, server):
    run, said = online
    server.failures = [TokenExpiredError("The token has expired.")] * 100
    for step in range(50):
        run.log({"loss": step})
    _until(lambda: run._sender.has_ended)
    requests = server.requests
    run.log({"loss": 50})
    run.finish()
    assert server.requests == requests
    assert sum("The token has expired." in one for one in said) == 1
    assert "steelyard sync" in said[-1]
    server.failures = []
    _send(run, server)
    assert len(server.points) == 51


def test_a_server_that_restarts_is_waited_for(online, server):
    run, said = online
    server.failures = [UnavailableError("It cannot be reached.")] * 3
    run.log({"loss": 1.0})
    _until(lambda: server.points)
    run.finish()
    assert server.finished is not None
    assert sum("cannot be reached" in one for one in said) == 1


def test_a_run_that_somebody_cancels_ends_its_program(online, server):
    run, _ = online
    server.is_cancelled = True
    run.log({"loss": 1.0})
    _until(lambda: run.is_cancelled)
    caught: list[BaseException] = []

    def other_thread():
        try:
            run.log({"loss": 2.0})
        except RunCancelled as error:
            caught.append(error)

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert not caught
    with pytest.raises(RunCancelled, match="The run exp-2 was cancelled"):
        run.log({"loss": 3.0})
    run.log({"loss": 4.0})
    run.finish()
    assert server.finished is not None
    assert server.finished["state"] == "cancelled"


def test_a_start_that_the_server_refuses_is_heard_at_the_start(tmp_path, server, monkeypatch):
    monkeypatch.setenv("STEELYARD_URL", "http://steelyard.test")
    monkeypatch.setenv("STEELYARD_TOKEN", "sy_test")
    monkeypatch.setattr("steelyard.tracking.starting.Client", lambda *_, **__: _Closing(server))
    server.failures = [AuthenticationError("This token opens nothing.")]
    with pytest.raises(AuthenticationError):
        steelyard.init("lab/shelf", folder=tmp_path)
    assert not list(tmp_path.glob("*/run.json"))
    with pytest.raises(InvalidInputError, match="Say where the run belongs"):
        steelyard.init(folder=tmp_path)
    with pytest.raises(InvalidInputError, match="resume it by its id"):
        steelyard.init("lab/shelf", name="x", resume=True, offline=True, folder=tmp_path)


# --- what is saved -----------------------------------------------------------------------------------


class _Pretrained:
    def save_pretrained(self, folder):
        (folder / "config.json").write_text("{}")


def test_a_copy_is_saved_of_networks_tensors_files_and_folders(run, tmp_path):
    network = torch.nn.Linear(2, 1)
    before = network.weight.detach().clone()
    run.save(network, message="first")
    with torch.no_grad():
        network.weight.zero_()
    run.save({"w": before.t()}, name="tensors")
    run.save(_Pretrained())
    file = tmp_path / "labels.txt"
    file.write_text("a b")
    run.save(file)
    run.save(tmp_path / "labels.txt")
    saves = run.folder / "saves"
    assert torch.equal(load_file(saves / "000001" / "model.safetensors")["weight"], before)
    assert torch.equal(load_file(saves / "000002" / "tensors.safetensors")["w"], before.t())
    assert (saves / "000003" / "config.json").exists()
    assert (saves / "000004" / "labels.txt").read_text() == "a b"
    assert json.loads((saves / "000001.json").read_text())["message"] == "first"


@pytest.mark.parametrize("thing", [3, {}, {"a": 1}, "no/such/file"])
def test_what_cannot_be_saved_is_refused_with_a_sentence(run, thing):
    with pytest.raises(InvalidInputError, match=r"is none of them|does not exist"):
        run.save(thing)


def test_ids_are_checked_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInputError, match="'exp-1' is no id of a run"):
        steelyard.init(resume="exp-1", offline=True, folder=tmp_path)
    run = steelyard.init(resume=uuid4(), offline=True, folder=tmp_path, quiet=True)
    assert "resume" in json.loads((run.folder / "run.json").read_text())
