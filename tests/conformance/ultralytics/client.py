"""The real Ultralytics client, in an environment and processes of its own: `yolo` and `ul` as people run them.

It is AGPL software, and no process of Steelyard's imports it. Its environment stands on the torch that is here already,
and is made once.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.environments import python_of
from tests.support.installations import RunningInstallation

HERE = Path(__file__).resolve().parent
_TIMEOUT = 900
# What the client does of its own accord, and a test wants nothing of: analytics, downloads, installing packages.
_QUIET = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "true", "PYTHONWARNINGS": "ignore"}


class Client:
    """`client.yolo("train", "epochs=2")` and `client.ul("cloud", "projects")`, in a folder of their own."""

    def __init__(self, installation: RunningInstallation, folder: Path) -> None:
        self.installation, self.folder = installation, folder
        self.python = python_of("ultralytics", "--no-deps", requirements=HERE / "requirements.txt", sees_ours=True)
        self.token = installation.token
        (folder / "config").mkdir(parents=True, exist_ok=True)
        self.run("-c", f"from ultralytics import settings; settings.update({{'sync': False, {self._folders()}}})")

    def _folders(self) -> str:
        places = {f"{name}_dir": str(self.folder / name) for name in ("datasets", "weights", "runs")}
        return ", ".join(f"{name!r}: {place!r}" for name, place in places.items())

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        return {
            **kept,
            **_QUIET,
            "YOLO_CONFIG_DIR": str(self.folder / "config"),
            "MPLCONFIGDIR": str(self.folder / "config"),
            "ULTRALYTICS_PLATFORM_URL": f"{self.installation.url}/ultralytics",
            "ULTRALYTICS_API_KEY": self.token,
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *arguments: str, check: bool = True) -> str:
        """What it printed. With `check`, it must end well."""
        done = subprocess.run(
            [str(self.python), str(HERE / "launch.py"), *arguments],
            cwd=self.folder, env=self.variables, capture_output=True, text=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, while the test goes on."""
        command = [str(self.python), str(HERE / "launch.py"), *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def yolo(self, *arguments: str, check: bool = True) -> str:
        return self.run("yolo", *arguments, check=check)

    def ul(self, *arguments: str, check: bool = True) -> str:
        return self.run("ul", *arguments, check=check)
