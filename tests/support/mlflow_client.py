"""MLflow's real client, in an environment of its own that is made once: it brings what Steelyard must not depend on.

torch, scikit-learn and numpy are those of this environment, put behind the client's own packages.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.environments import python_of
from tests.support.installations import RunningInstallation

# The client that the face says it is: `steelyard_platform.mlflow.urls.VERSION`.
_PACKAGES = ("mlflow-skinny==3.17.2", "pandas>=2")


def client_python() -> str:
    """Its interpreter. Raises: NotInstalledError."""
    return str(python_of("mlflow-client", *_PACKAGES, sees_ours=True))


def run_client(installation: RunningInstallation, folder: Path, script: str, *, token: str = "") -> str:
    """A script of a user's, in a process of its own; returns what it printed. Raises: AssertionError."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "STEELYARD_", "HF_"))}
    environment = {
        **kept,
        "MLFLOW_TRACKING_URI": f"{installation.url}/mlflow",
        "MLFLOW_TRACKING_TOKEN": token or installation.token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [client_python(), "-c", script],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{installation.logs()}"
    return done.stdout
