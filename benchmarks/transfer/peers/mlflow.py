"""MLflow with a tracking server that proxies artifacts: `mlflow.log_artifacts` and `download_artifacts`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.transfer.peer import Command, Place, Server, prepare, program_of, start_server

PACKAGE = "mlflow==3.17.2"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    # Seven processes that take no part in what is measured and are never quite idle.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
_PUSH = """
import pathlib, sys, mlflow
with mlflow.start_run() as run:
    mlflow.log_artifacts(sys.argv[1])
pathlib.Path(sys.argv[2]).write_text(run.info.run_id)
"""
_PULL = """
import sys, mlflow
mlflow.artifacts.download_artifacts(run_id=sys.argv[1], dst_path=sys.argv[2])
"""


class MLflow:
    name = "mlflow"

    def __init__(self, place: Place) -> None:
        self.place = place
        self._run = place.folder / "pusher" / "run"

    def start(self) -> Server:
        folder = self.place.folder / "server"
        serve = [
            program_of(PACKAGE, "mlflow"), "server",
            "--host", "127.0.0.1", "--port", str(self.place.server_port),
            "--backend-store-uri", f"sqlite:///{folder}/mlflow.sqlite3",
            "--artifacts-destination", str(folder / "artifacts"),
            "--serve-artifacts",
        ]  # fmt: skip
        health = f"http://127.0.0.1:{self.place.server_port}/health"
        server = start_server(Command(serve, folder, QUIET), health, web="spawn_main")
        self.place.outgoing.mkdir(parents=True)
        (self.place.outgoing / "small.txt").write_text("warm")
        for command in self.push():
            prepare(command)
        return server

    def version(self) -> Command:
        return self._python("import mlflow; mlflow.start_run")

    def push(self) -> list[Command]:
        return [self._python(_PUSH, str(self.place.outgoing), str(self._run))]

    def pull(self) -> list[Command]:
        self.pulled().mkdir(parents=True, exist_ok=True)
        return [self._python(_PULL, self._run.read_text(), str(self.pulled()))]

    def pulled(self) -> Path:
        return self.place.folder / "puller" / "model"

    def stored(self) -> Path:
        return self.place.folder / "server"

    def received(self) -> None:
        return None

    def _python(self, script: str, *arguments: str) -> Command:
        environment = {"MLFLOW_TRACKING_URI": self.place.url, **QUIET}
        return Command([program_of(PACKAGE, "python"), "-c", script, *arguments], self.place.folder, environment)
