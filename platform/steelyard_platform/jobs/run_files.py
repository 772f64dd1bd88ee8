"""Files that runs have logged, for whoever shows runs: kept by an app that stands above this one, and tells it so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from steelyard_platform.jobs.models import Job


@dataclass(frozen=True, slots=True)
class LoggedFile:
    """`address`: where it is read, by whoever may see the run."""

    path: str
    size: int
    address: str


Lister = Callable[[Job, int], list[LoggedFile]]
_listers: list[Lister] = []


def list_files_with(lister: Lister) -> None:
    """To be called when an app is ready. `lister(run, most)`: by path."""
    _listers.append(lister)


def files_of(run: Job, most: int) -> list[LoggedFile]:
    return [file for lister in _listers for file in lister(run, most)][:most]
