"""What a contestant is: in one round, one fresh server (or remote folder), one machine that pushes, one that pulls."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.support.environments import python_of

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS, _STOP_SECONDS = 120.0, 60.0


@dataclass(frozen=True, slots=True)
class Command:
    arguments: list[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    process: subprocess.Popen[bytes]
    # A word in the command lines of the processes that answer requests.
    web: str

    def stop(self) -> None:
        """With its children: SIGTERM, then SIGKILL to those that do not heed it."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contestant may write, and its addresses: clients may be sent through a counting relay."""

    folder: Path
    server_port: int
    client_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.client_port}"

    @property
    def outgoing(self) -> Path:
        """The folder that is pushed; each push finds the next weights in it."""
        return self.folder / "pusher" / "model"


class Peer(Protocol):
    """Commands are what a user would type. What is not a command is not timed."""

    name: str
    place: Place

    def __init__(self, place: Place) -> None: ...

    def start(self) -> Server | None:
        """Ready for the first push, and warm. Raises: NotInstalledError."""

    def version(self) -> Command:
        """Does nothing else: what the program's own start takes."""

    def push(self) -> list[Command]: ...

    def pull(self) -> list[Command]:
        """The newest: all of it the first time, an update from then on."""

    def pulled(self) -> Path:
        """Where the pulled files lie."""

    def stored(self) -> Path:
        """What the server keeps, its database included."""

    def received(self) -> Path | None:
        """Where a pull without a server puts what it has moved; None for those that are counted on the wire."""


def inherited() -> dict[str, str]:
    """The user's own environment, without what would point a client elsewhere."""
    kept = os.environ.items()  # noqa: TID251 - the programs it starts need a PATH
    return {
        name: value for name, value in kept if not name.startswith(("STEELYARD_", "HF_", "MLFLOW_", "GIT_", "DVC_"))
    }


def ours(program: str) -> str:
    """A program of the project's own environment."""
    return str(Path(sys.executable).parent / program)


def program_of(package: str, program: str) -> str:
    """From an environment that holds this one package. Raises: NotInstalledError."""
    return str(python_of(package, package).with_name(program))


def prepare(command: Command) -> str:
    """Runs it untimed; returns what it printed."""
    done = subprocess.run(
        command.arguments,
        cwd=command.folder,
        env={**inherited(), **command.environment},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command.arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def start_server(command: Command, health: str, web: str) -> Server:
    command.folder.mkdir(parents=True, exist_ok=True)
    with (command.folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env={**inherited(), **command.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server, deadline = Server(process, web), time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(health, timeout=2).close()  # noqa: S310 - a server of this run
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return server
    server.stop()
    raise RuntimeError(f"the server did not start; see {command.folder / 'server.log'}")
