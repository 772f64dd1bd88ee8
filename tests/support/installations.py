"""A whole installation for end-to-end tests: the real `manage.py serve`, in a folder of its own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "weighing-is-believing"
DATABASE = "steelyard.sqlite3"


def command_of(process: psutil.Process) -> str:
    """Empty for one that has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def is_at_a_job(process: psutil.Process) -> bool:
    return "steelyard_workers.run_job" in command_of(process)


class RunningInstallation:
    """Started with `start`; `environment` points any client at it."""

    def __init__(self, var: Path, settings: dict[str, str] | None = None) -> None:
        self.var = var
        self.settings = {
            **os.environ,
            "STEELYARD_VAR": str(var),
            "STEELYARD_DEVICE_POLL_SECONDS": "0.3",
            "STEELYARD_LEASE_SECONDS": "4",
            "STEELYARD_RETRY_PAUSE_SECONDS": "0.2",
            "STEELYARD_ALLOWED_HOSTS": "127.0.0.1,localhost",
            **(settings or {}),
        }
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        self.var.mkdir(parents=True, exist_ok=True)
        if not self.token:
            if not self.settings.get("STEELYARD_DATABASE_URL"):
                shutil.copy(_migrated_database(), self.var / DATABASE)
            self.token = self.bootstrap("ada", "lab")
        with (self.var / "serve.log").open("ab") as log:
            command = [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(self.port), *options]
            self.process = subprocess.Popen(command, env=self.settings, stdout=log, stderr=log, start_new_session=True)
        self.wait()

    def wait(self) -> None:
        """Until it answers."""
        assert self.process is not None
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"{self.url}/healthz", timeout=2).close()
                return
            time.sleep(0.1)
        raise AssertionError(f"the server did not start:\n{(self.var / 'serve.log').read_text()}")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def kill(self) -> None:
        """What a power cut does: no process of this installation gets to put anything in order."""
        if self.process:
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()

    def processes(self) -> list[psutil.Process]:
        """The supervisor and what it has started."""
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def web_processes(self) -> list[int]:
        """The web's process and its workers."""
        return [process.pid for process in self.processes() if "gunicorn" in command_of(process)]

    def job_processes(self) -> list[int]:
        """Those that are at a job."""
        return [process.pid for process in self.processes() if is_at_a_job(process)]

    def bootstrap(self, user: str, team: str) -> str:
        command = ["bootstrap", "--user", user, "--team", team, f"--password={PASSWORD}", "--print-token"]
        return self.manage(*command).strip().splitlines()[-1]

    def manage(self, *arguments: str, check: bool = True) -> str:
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        done = subprocess.run(command, env=self.settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text()[-4000:]}" for path in sorted((self.var / "logs").glob("*"))
        )

    @property
    def environment(self) -> dict[str, str]:
        """For clients in processes of their own."""
        return {
            **os.environ,
            "STEELYARD_URL": self.url,
            "STEELYARD_TOKEN": self.token,
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HOME": str(self.var / "huggingface"),
            "XDG_CONFIG_HOME": str(self.var / "config"),
            "HF_HUB_DISABLE_XET": "0",  # whatever another test has told the client in this process
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def run(
        self, *command: str, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A client's command, from this environment's `bin`."""
        program = str(Path(sys.executable).parent / command[0])
        variables = {**self.environment, **(environment or {})}
        done = subprocess.run(
            [program, *command[1:]], env=variables, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def python(self, script: str) -> str:
        """A script of a client's, in a process of its own; returns what it printed."""
        done = self.run("python", "-c", script)
        return done.stdout


@functools.cache
def _migrated_database() -> Path:
    """An empty SQLite database with every table: making it is what most of a first start takes."""
    var = Path(tempfile.mkdtemp(prefix="steelyard-migrated-"))
    atexit.register(shutil.rmtree, var, ignore_errors=True)
    command = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"]
    subprocess.run(command, env={**os.environ, "STEELYARD_VAR": str(var)}, check=True)
    with contextlib.closing(sqlite3.connect(var / DATABASE)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that one file is all of it
    return var / DATABASE


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
