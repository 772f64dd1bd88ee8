"""Copying bytes from one file into another, by the kernel where it can: some file systems then copy nothing at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

_AT_ONCE = 4
_LONGEST = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes `start` to `end - 1` of the source, which come to stand at `place`."""

    start: int
    end: int
    place: int

    def followed_by(self, other: Run) -> bool:
        return self.end == other.start and self.place + self.end - self.start == other.place


def joined(runs: Iterable[Run]) -> list[Run]:
    """The same bytes in fewer runs, none longer than `_LONGEST` unless it was."""
    made: list[Run] = []
    for run in runs:
        if made and made[-1].followed_by(run) and run.end - made[-1].start <= _LONGEST:
            made[-1] = Run(made[-1].start, run.end, made[-1].place)
        else:
            made.append(run)
    return made


def copy_runs(source: int, target: int, runs: Iterable[Run]) -> None:
    """Between two open files. Raises: OSError."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(lambda run: _copy(source, target, run), runs):
            pass


def _copy(source: int, target: int, run: Run) -> None:
    done = 0
    while (left := run.end - run.start - done) > 0:
        try:
            copied = os.copy_file_range(source, target, left, run.start + done, run.place + done)
        except (AttributeError, OSError):  # another system, or two that it does not copy between
            copied = os.pwrite(target, os.pread(source, left, run.start + done), run.place + done)
        if not copied:
            raise OSError(f"The file to copy from became shorter than {run.end} bytes meanwhile.")
        done += copied
