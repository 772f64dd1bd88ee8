"""What every launcher can do. It never claims a job: the machine that it starts does, so none is ever done twice."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.workers import Capabilities, Resources


class LaunchError(SteelyardError):
    """A machine could not be started, looked at or stopped."""

    code = "launch_failed"
    status = 503


class Launcher(Protocol):
    """Starts one machine for one job."""

    def offers(self) -> Capabilities:
        """The most that a machine of this launcher's may have: the platform names only jobs that fit."""
        ...

    def launch(self, job: UUID, needs: Resources) -> None:
        """Starts a machine for the job; where there is one already, nothing. Raises: LaunchError."""
        ...

    def running(self) -> frozenset[UUID]:
        """The jobs whose machines are starting or at work. Raises: LaunchError."""
        ...

    def stop(self, job: UUID) -> None:
        """Ends the job's machine, which gives the job back; without one, nothing. Raises: LaunchError."""
        ...
