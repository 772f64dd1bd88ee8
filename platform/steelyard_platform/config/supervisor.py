"""Starts the processes of an installation on one machine, and stops them together.

    web        gunicorn, threads over WSGI
    light      Celery worker for the platform's own small jobs
    beat       rings the regular ones
    compute    Celery worker with torch; it reaches the platform only over HTTP
    quick      another one, for the small jobs that people wait for

A process that dies is started again, a little later each time. When the supervisor itself is killed, the
kernel takes its children along (on Linux).

The platform's own programs are forks of the supervisor where that is safe: what they are made of was loaded once.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from setproctitle import setproctitle

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 25.0
_LOOK_EVERY = 0.2
_LONGEST_PAUSE = 30.0
# Elsewhere, a process that has used the system's own libraries cannot be forked.
_CAN_FORK = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Program:
    """A command and, for one that is made of what the supervisor has loaded, what the command comes to."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    main: Callable[[], object] | None = None
    # Whether it gets the operator's settings as well: a compute worker holds no key of the database or the store.
    inherits_settings: bool = True

    def full_environment(self) -> dict[str, str]:
        inherited = os.environ.items()  # noqa: TID251 - children inherit the operator's environment
        kept = {key: value for key, value in inherited if self.inherits_settings or not _is_setting(key)}
        return {**kept, **self.environment}


def _is_setting(name: str) -> bool:
    return name.startswith("STEELYARD_") and not name.startswith("STEELYARD_WORKER_")


def celery_command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "--quiet", "--app", module, *arguments]


def worker_arguments(queue: str, pool: str, threads: int) -> list[str]:
    """One message at a time, no chatter between workers: the broker is only a doorbell."""
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    return ["worker", "--queues", queue, "--pool", pool, "--concurrency", str(threads), *quiet]


class _Process(Protocol):
    """What a `subprocess.Popen` is, as far as it is needed here."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class _Fork:
    """A program that goes on from here in a process of its own."""

    def __init__(self, program: Program, log: int) -> None:
        self._name = program.name
        self._process = multiprocessing.get_context("fork").Process(target=_become, args=(program, log))
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._name, timeout or 0.0)
        return self._process.exitcode


@dataclass
class _Running:
    program: Program
    process: _Process
    started: float
    pause: float = 1.0
    again_at: float | None = None


class Supervisor:
    """Runs programs until told to stop. `logs`: a folder that receives each program's output."""

    def __init__(self, programs: list[Program], logs: Path) -> None:
        self.programs = programs
        self.logs = logs
        self._stopping = False

    def run(self, on_started: Callable[[], bool] | None) -> None:
        """Blocks until SIGTERM, SIGINT or SIGHUP; returns with no process left behind.

        `on_started` is called until it returns True: once the programs answer.
        """
        for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(ending, self._stop)
        self.logs.mkdir(parents=True, exist_ok=True)
        running = [_Running(program, self._start(program), time.monotonic()) for program in self.programs]
        try:
            while not self._stopping:
                if on_started is not None and on_started():
                    on_started = None
                for one in running:
                    self._look_after(one)
                time.sleep(_LOOK_EVERY)
        finally:
            _stop_all([one.process for one in running])

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self, program: Program) -> _Process:
        with (self.logs / f"{program.name}.log").open("ab") as log:
            if program.main is not None and _CAN_FORK:
                return _Fork(program, log.fileno())
            return subprocess.Popen(
                program.command,
                env=program.full_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops them in order
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it only asks the kernel for a signal
            )

    def _look_after(self, one: _Running) -> None:
        now = time.monotonic()
        if one.again_at is not None:
            if now >= one.again_at:
                one.process, one.started, one.again_at = self._start(one.program), now, None
            return
        status = one.process.poll()
        if status is None:
            return
        one.pause = 1.0 if now - one.started > _LONGEST_PAUSE else min(one.pause * 2, _LONGEST_PAUSE)
        one.again_at = now + one.pause
        _log.error(
            "%s ended with status %s; see its log. Starting it again in %.0f s.",
            one.program.name,
            status,
            one.pause,
        )


def _become(program: Program, log: int) -> None:
    """In the fork: what a new process would be given, and then its work."""
    os.setsid()
    _die_with_parent()
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, signal.SIG_DFL)
    for output in (1, 2):
        os.dup2(log, output)
    os.environ.update(program.environment)  # noqa: TID251 - as a new process would be given it
    sys.argv = program.command[2:]
    setproctitle(" ".join(program.command))
    assert program.main is not None  # noqa: S101 - or there were no fork
    program.main()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop_all(processes: Sequence[_Process]) -> None:
    """The first one (the web) last: a worker that stops gives its job back over HTTP.

    SIGTERM, then SIGKILL to the groups of those that do not heed it.
    """
    first, *others = processes
    _stop_some(others, _GRACE_SECONDS)
    _stop_some([first], _GRACE_SECONDS)


def _stop_some(processes: Sequence[_Process], grace: float) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + grace
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline - time.monotonic(), 0.1))
        with contextlib.suppress(ProcessLookupError):  # the group outlives a leader that was killed
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
