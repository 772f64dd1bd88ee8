"""A process on this machine for each job: to try launchers out, and for a large machine that does several jobs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping
from uuid import UUID

from steelyard_contracts.workers import Capabilities, Resources

_GRACE_SECONDS = 30.0


class LocalLauncher:
    """`environment` is what `steelyard_workers.settings` reads: the address, the token, the folder."""

    def __init__(self, environment: Mapping[str, str], has: Capabilities) -> None:
        self._environment = dict(environment)
        self._has = has
        self._processes: dict[UUID, subprocess.Popen[bytes]] = {}

    def offers(self) -> Capabilities:
        return self._has

    def launch(self, job: UUID, needs: Resources) -> None:  # noqa: ARG002 - what this machine has is what there is
        if job in self.running():
            return
        name = f"{self._environment.get('STEELYARD_WORKER_NAME') or 'local'}-{str(job)[:8]}"
        self._processes[job] = subprocess.Popen(
            [sys.executable, "-m", "steelyard_workers.serve", "--job", str(job)],
            env={**self._environment, "STEELYARD_WORKER_NAME": name},
        )

    def running(self) -> frozenset[UUID]:
        self._processes = {job: process for job, process in self._processes.items() if process.poll() is None}
        return frozenset(self._processes)

    def stop(self, job: UUID) -> None:
        process = self._processes.pop(job, None)
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        process.kill()
        process.wait()
