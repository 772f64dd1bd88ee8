"""The demo's devices: real `steelyard-edge` processes, each with a folder of its own."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from steelyard_demo.installation import DemoError, Installation

NAMES = ["gate-1", "gate-2", "gate-3", "gate-4"]
SICK = "gate-4"  # its sensor overheats before the second release
_EDGE = [sys.executable, "-m", "steelyard_edge"]
_STOP_SECONDS = 10


class Device:
    """One agent: enrolled, run in the background, asked to classify."""

    def __init__(self, name: str, installation: Installation) -> None:
        self.name = name
        self.folder = installation.var / "devices" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._installation = installation
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def overheated(self) -> Path:
        """While this file exists, the device's own health check fails."""
        return self.folder / "overheated"

    def enrol(self, token: str) -> None:
        address = ["--url", self._installation.url, "--token", token]
        self._run("enrol", *address, "--name", self.name)

    def start(self) -> None:
        health = self.folder / "health_check.py"
        health.write_text(_HEALTH_CHECK)
        command = [
            *_EDGE,
            "run",
            "--folder",
            str(self.folder),
            "--health-command",
            shlex.join([sys.executable, str(health)]),
        ]
        with (self.folder / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def accuracy_on(self, pictures: Path) -> float:
        """Share of the pictures (`<label>/<file>`) that the device's own model labels right."""
        lines = self._run("classify", str(pictures)).splitlines()
        answers: list[dict[str, str]] = [json.loads(line) for line in lines]
        return sum(Path(answer["path"]).parent.name == answer["label"] for answer in answers) / len(answers)

    def _run(self, verb: str, *arguments: str) -> str:
        command = [*_EDGE, verb, *arguments, "--folder", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoError(f"{self.name} could not {verb}: {done.stderr.strip()}")
        return done.stdout


_HEALTH_CHECK = textwrap.dedent(
    '''\
    """A device's own health check: here, its temperature."""

    import pathlib
    import sys

    if (pathlib.Path(__file__).parent / "overheated").exists():
        sys.exit("the sensor is too hot")
    '''
)
