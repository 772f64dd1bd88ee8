"""A dead child's cause is told apart as far as the system says."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from steelyard_contracts.errors import InvalidInputError, UnavailableError
from steelyard_workers import run_job
from steelyard_workers.deaths import cause_of_death, memory_kills, peak_memory, witness
from steelyard_workers.orders import JobLeftError, Orders


@pytest.mark.parametrize(
    ("status", "kills", "sentence"),
    [
        (
            -signal.SIGKILL,
            1,
            "killed the job's process for want of memory, with 12 MB in use at most. Choose a smaller",
        ),
        (-signal.SIGKILL, 0, "was killed, with 12 MB in use at most; the kernel counts no kill for want of memory"),
        (-signal.SIGSEGV, 0, "died of SIGSEGV, with 12 MB"),
        (3, 0, "ended with status 3; see the log"),
    ],
)
def test_causes_are_sentences(status, kills, sentence):
    assert sentence in cause_of_death(status, kills=kills, peak=12_345_678)


def test_a_killed_process_is_told_from_one_that_the_kernel_killed():
    with subprocess.Popen([sys.executable, "-c", "print('on', flush=True); input()"], stdin=-1, stdout=-1) as child:
        seen = witness(child.pid)
        assert child.stdout is not None
        assert child.stdout.readline() == b"on\n"
        seen.look()
        child.kill()
        assert "the kernel counts no kill" in seen.cause(child.wait())
    assert seen.peak > 1_000_000
    assert memory_kills() >= 0
    assert peak_memory(child.pid) == 0


def _errors_of(script, limit):
    """What a process raises that may not use more than a limit; `_sentence` and `_may_pass` of it."""
    tail = """
except Exception as error:
    from steelyard_workers import run_job
    print(run_job._sentence(error), run_job._may_pass(error), sep="|")
"""
    body = "import sys, signal\nfrom steelyard_workers import run_job\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{body}try:\n    {script}{tail}"], capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(*limit),
    )  # fmt: skip
    return done.stdout.strip().split("|")


def test_no_memory_is_a_sentence_and_may_pass():
    limit = (resource.RLIMIT_AS, (2**31, 2**31))
    sentence, may_pass = _errors_of("bytes(2**33)", limit)
    assert sentence.startswith("The worker has no memory left; choose a smaller batch")
    assert may_pass == "True"


def test_a_full_disk_is_a_sentence_and_may_pass():
    full = Path("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised, full.open("wb", buffering=0) as file:
        file.write(b"state")
    assert run_job._sentence(raised.value).startswith("The worker's disk is full (while writing)")
    assert run_job._may_pass(raised.value)


@pytest.mark.parametrize(("error", "may_pass"), [(UnavailableError("Gone."), True), (InvalidInputError("No."), False)])
def test_only_what_may_pass_is_tried_again(error, may_pass):
    assert run_job._may_pass(error) is may_pass


def test_who_is_asked_between_steps_is_not_torn_from_one():
    orders = Orders()
    orders.is_asked = True
    before = signal.signal(signal.SIGTERM, orders.on_terminate)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        assert orders.leave
        orders.is_asked = False
        with pytest.raises(JobLeftError):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
