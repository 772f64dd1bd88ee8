r"""The install under way, on disk, and what to do with it after a restart. The decisions are pure.

fetching --> switched --> healthy | rolled_back
    \--> failed
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel

from steelyard_contracts.fleet import InstallState
from steelyard_edge.disk import write_whole

_FILE = "journal.json"


class Phase(StrEnum):
    FETCHING = "fetching"
    SWITCHED = "switched"
    HEALTHY = "healthy"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


class Recovery(StrEnum):
    """What a restart finds to do."""

    NOTHING = "nothing"
    CHECK = "check"  # it switched, and nobody saw the new release work yet
    REPORT = "report"  # it ended, and the platform has not heard


class Journal(BaseModel):
    """`previous`: the digest to go back to; None on a device that ran nothing before."""

    release: UUID
    digest: str
    previous: str | None
    phase: Phase
    detail: str = ""
    is_reported: bool = False

    def save(self, folder: Path) -> None:
        write_whole(folder / _FILE, self.model_dump_json(indent=2).encode())

    @property
    def recovery(self) -> Recovery:
        match self.phase:
            case Phase.FETCHING:
                return Recovery.NOTHING  # the platform still offers it; what was fetched is kept
            case Phase.SWITCHED:
                return Recovery.CHECK
            case Phase.HEALTHY | Phase.ROLLED_BACK | Phase.FAILED:
                return Recovery.NOTHING if self.is_reported else Recovery.REPORT

    @property
    def report_state(self) -> InstallState:
        match self.phase:
            case Phase.FETCHING | Phase.SWITCHED:
                return InstallState.INSTALLING
            case Phase.HEALTHY:
                return InstallState.HEALTHY
            case Phase.ROLLED_BACK:
                return InstallState.ROLLED_BACK
            case Phase.FAILED:
                return InstallState.FAILED


def load_journal(folder: Path) -> Journal | None:
    """The last install, if any. One that cannot be read is put aside: the device must not die of its notes."""
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        return Journal.model_validate_json(path.read_bytes())
    except ValueError:
        path.replace(path.with_suffix(".damaged"))
        return None
