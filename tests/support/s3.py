"""A real S3 server (SeaweedFS) for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.services import weed

ACCESS_KEY, SECRET_KEY = "steelyard", "steelyard-secret"
_GRPC_OFFSET = 10_000


class S3Server:
    """Started by `start`, killed by `stop`: an orderly shutdown takes a quarter of a minute.

    After a kill it may be started again: what had been acknowledged is still there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [_free_port() for _ in range(4)]
        self.endpoint = f"http://127.0.0.1:{self.ports[3]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        config = self.folder / "s3.json"
        credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        config.write_text(
            json.dumps({"identities": [{"name": "steelyard", "credentials": credentials, "actions": actions}]})
        )
        master, volume, filer, s3 = map(str, self.ports)
        command = [
            str(weed()), "server", f"-dir={(self.folder / 'data').resolve()}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3",
            f"-s3.port={s3}", f"-s3.config={config.resolve()}", "-master.telemetry=false", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-master.volumeSizeLimitMB=128", "-volume.max=0", "-master.electionTimeout=2s",
        ]  # fmt: skip
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "GOMEMLIMIT": "256MiB"},
            )
        self._wait()

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def settings(self, bucket: str) -> dict[str, str]:
        """The environment of an installation that keeps its objects here."""
        return {
            "STEELYARD_S3_BUCKET": bucket,
            "STEELYARD_S3_ENDPOINT": self.endpoint,
            "STEELYARD_S3_ACCESS_KEY": ACCESS_KEY,
            "STEELYARD_S3_SECRET_KEY": SECRET_KEY,
        }

    def store(self, bucket: str) -> Any:
        from steelyard_platform.storage import s3

        return s3.connect(
            bucket=bucket,
            endpoint=self.endpoint,
            public_endpoint="",
            region="us-east-1",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=1):
                    self.store("ready-probe").put("ready", [b"x"])  # it answers before it can write
                    return
            except Exception:  # noqa: BLE001 - anything at all means "not yet"
                time.sleep(0.2)
        raise TimeoutError(f"the S3 server did not become ready; see {self.folder}/weed.log")


def _free_port() -> int:
    """A port whose gRPC sibling, 10,000 above, is free as well."""
    while True:
        with socket.socket() as probe, socket.socket() as sibling:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            if port + _GRPC_OFFSET > 65_535:
                port -= 25_000
            with contextlib.suppress(OSError):
                sibling.bind(("127.0.0.1", port + _GRPC_OFFSET))
                return int(port)
