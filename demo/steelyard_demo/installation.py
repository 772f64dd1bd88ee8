"""A Steelyard of the demo's own under `var/demo`, started and stopped as a user would."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USER, TEAM = "keeper", "demo"
_READY_SECONDS = 90
_STOP_SECONDS = 40


class DemoError(Exception):
    """The story cannot go on; the sentence says why."""


@dataclass
class Installation:
    """A running server. `environment` is what its clients need."""

    var: Path
    url: str
    token: str
    password: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,  # noqa: TID251 - the demo starts programs as a shell would
            "STEELYARD_URL": self.url,
            "STEELYARD_TOKEN": self.token,
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HOME": str(self.var / "huggingface"),
        }

    def stop(self) -> None:
        """Leaves no process behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_SECONDS)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def start(var: Path, port: int) -> Installation:
    """Raises: DemoError when the server does not come up."""
    var.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,  # noqa: TID251 - as above
        "STEELYARD_VAR": str(var),
        "STEELYARD_DEVICE_POLL_SECONDS": "1",  # a demo's devices are impatient
    }
    password = _kept(var / "password", lambda: secrets.token_urlsafe(9))
    manage = [sys.executable, str(ROOT / "manage.py")]
    names = ["--user", USER, "--team", TEAM, f"--password={password}"]
    made = subprocess.run(
        [*manage, "bootstrap", *names, "--print-token"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise DemoError(f"The installation could not be set up: {made.stderr.strip()}")
    token = made.stdout.strip().splitlines()[-1]
    port = _free_port(port)
    with (var / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [*manage, "serve", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    installation = Installation(var, f"http://127.0.0.1:{port}", token, password, process)
    try:
        _wait_until_ready(installation)
    except BaseException:  # Ctrl-C included: nothing stays behind
        installation.stop()
        raise
    return installation


def _wait_until_ready(installation: Installation) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and installation.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{installation.url}/healthz", timeout=2):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise DemoError(f"The server did not become ready; see {installation.var}/serve.log and {installation.var}/logs.")


def _free_port(wanted: int) -> int:
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise DemoError(f"No port is free from {wanted} on; name another: make demo ARGS='--port 9000'")


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        temporary = path.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(make())
        temporary.replace(path)
    return path.read_text()
