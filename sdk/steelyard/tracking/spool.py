r"""The folder of a run: everything it says is written here first, and stays until the server has it.

    run.json              what the run is, and where it belongs; never a token
    sent.json             what the server calls it, and how far it has been sent
    events/000001.jsonl   what it said, a line each, in files of a few megabytes that go when they were sent
    samples/  saves/      pictures, and versions that wait to be sent
    lock                  held by the program that writes

A line is a letter for its kind, then JSON: `p2 {…},{…}` two points, `l` a line of output, `s` a picture, `u` a change,
`f` the end. One `write` call adds a line, so that a program that is killed leaves whole lines behind.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

# Elsewhere nobody tells a program that writes from one that has ended.
_locks: Any = import_module("fcntl") if os.name == "posix" else None
POINTS, LINE, SAMPLE, UPDATE, FINISH = b"p", b"l", b"s", b"u", b"f"
SEGMENT_BYTES = 8 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_FULL_FOR = 1.0  # seconds until a full spool is looked at again


@dataclass(frozen=True, slots=True)
class Place:
    """How far a spool was read: the number of an events file, and bytes in it."""

    segment: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """What is known of the run at the server, and how far it has been sent."""

    run: str = ""
    attempt: int = 0
    name: str = ""
    place: Place = Place()
    is_finished: bool = False


class Spool:
    """Opened by the program that trains, or by who sends what one left behind.

    Args:
        folder: of this run alone.
        most_bytes: of what waits to be sent; more is left out.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self.folder = folder
        self.dropped = 0
        self._events, self._most = folder / "events", max(2, most_bytes // SEGMENT_BYTES)
        self._events.mkdir(parents=True, exist_ok=True)
        self._lock, self._lock_file = threading.Lock(), self._hold()
        self._segment = max(self._segments(), default=1)
        self._file, self._written, self._full_until = -1, 0, 0.0
        if self.is_held:
            self._open()

    @classmethod
    def of(cls, folder: Path) -> str:
        """The id of the run whose folder that is; empty when no server has heard of it."""
        return _sent_in(folder).run

    @property
    def is_held(self) -> bool:
        """Whether no other program has it."""
        return self._lock_file >= 0

    @property
    def has_refused(self) -> bool:
        """Whether something is in it that the server did not take; such a folder is kept."""
        return (self.folder / "refused.jsonl").exists() or any((self.folder / "saves").glob("*.refused"))

    def close(self) -> None:
        with self._lock:
            for file in (self._file, self._lock_file):
                if file >= 0:
                    os.close(file)
            self._file = self._lock_file = -1

    def remove(self) -> None:
        """For a run that the server has whole."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- writing -------------------------------------------------------------------------------

    def add(self, line: bytes) -> bool:
        """Adds a whole line; False when there is no room for it, or no disk."""
        with self._lock:
            if self._file < 0 or (self._written >= SEGMENT_BYTES and not self._next_segment()):
                self.dropped += 1
                return False
            try:
                written = os.write(self._file, line)
                self._written += written
                is_whole = written == len(line)
                if not is_whole:
                    self._mend()
            except OSError:
                is_whole = False
            self.dropped += not is_whole
        return is_whole

    def describe(self, about: dict[str, Any]) -> None:
        _write(self.folder / "run.json", about)

    def note_sent(self, sent: Sent) -> None:
        place = {"segment": sent.place.segment, "offset": sent.place.offset}
        said = {"run": sent.run, "attempt": sent.attempt, "name": sent.name, "finished": sent.is_finished}
        _write(self.folder / "sent.json", {**said, **place})
        for number in self._segments():
            if number < sent.place.segment:
                self._path(number).unlink(missing_ok=True)

    # --- reading -------------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """Raises: OSError, ValueError for a folder that is none of a run."""
        return dict(json.loads((self.folder / "run.json").read_text()))

    def sent(self) -> Sent:
        found = _sent_in(self.folder)
        return found if found.run else replace(found, place=Place(min(self._segments(), default=1)))

    def read(self, place: Place) -> tuple[Place, list[bytes]]:
        """The place and the whole lines from there on, each with its end: about a megabyte at most, of one file."""
        data = self._read(place.segment, place.offset)
        if not data and (later := [number for number in self._segments() if number > place.segment]):
            place = Place(min(later))
            data = self._read(place.segment, 0)
        return place, data.splitlines(keepends=True)

    def last_written_at(self) -> float:
        """Seconds since 1970."""
        times = [self._path(number).stat().st_mtime for number in self._segments()]
        return max(times, default=time.time())

    def _read(self, segment: int, offset: int) -> bytes:
        """Whole lines from there on; one that is not yet whole is left for the next time."""
        try:
            with self._path(segment).open("rb") as file:
                file.seek(offset)
                data = file.read(_READ_BYTES)
                if b"\n" not in data:
                    data += file.readline()
        except FileNotFoundError:
            return b""
        return data[: data.rfind(b"\n") + 1]

    # --- files ---------------------------------------------------------------------------------

    def _next_segment(self) -> bool:
        """Raises nothing: a full spool takes no more until some of it was sent."""
        if time.monotonic() < self._full_until:
            return False
        if len(self._segments()) >= self._most:
            self._full_until = time.monotonic() + _FULL_FOR
            return False
        self._segment += 1
        os.close(self._file)
        self._open()
        return self._file >= 0

    def _open(self) -> None:
        try:
            self._file = os.open(self._path(self._segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._written = os.fstat(self._file).st_size
            self._mend()
        except OSError:
            self._file = -1

    def _mend(self) -> None:
        """A program that was killed in the middle of a line: the next one must not go on in it."""
        if self._written:
            with self._path(self._segment).open("rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    self._written += os.write(self._file, b"\n")

    def _segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self._events.glob("*.jsonl") if path.stem.isdigit())

    def _path(self, number: int) -> Path:
        return self._events / f"{number:06d}.jsonl"

    def _hold(self) -> int:
        file = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if _locks is None:
            return file
        try:
            _locks.flock(file, _locks.LOCK_EX | _locks.LOCK_NB)
        except OSError:
            os.close(file)
            return -1
        return file


def _sent_in(folder: Path) -> Sent:
    try:
        said = json.loads((folder / "sent.json").read_text())
        place = Place(said["segment"], said["offset"])
        return Sent(said["run"], said["attempt"], said["name"], place, said["finished"])
    except (OSError, ValueError, KeyError):
        return Sent()


def _write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)
