"""Live streams of jobs: one look at the database a second for each watched job, however many people watch it.

A stream holds a thread of its web process, asleep for nearly all of the time. There are `web_watchers` of them in each
process, beside those that answer requests; whoever finds none free asks again every few seconds instead.

    GET …/events                     `hello`: load what there is now, then follow
    GET …/events, Last-Event-ID      what was missed, or `hello` when that is too long ago for this process
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.db import connection

from steelyard_contracts.errors import UnavailableError
from steelyard_platform.jobs.feed import Changes, Cursor, changes_since, present
from steelyard_platform.jobs.models import Job

EVENT_STREAM = "text/event-stream"
# No proxy is to hold events back.
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
LOOK_SECONDS = 1.0
_KEPT = 120  # changes that a stream may have missed
_QUIET_SECONDS = 15.0  # after which a comment shows whether the reader is still there
_LONGEST_SECONDS = 600.0  # then the reader connects again, and is asked again who they are
_log = logging.getLogger(__name__)


@dataclass
class _Room:
    """Those who watch one job. `changes`: (number, cursor, text of the event), the newest last."""

    job_id: UUID
    cursor: Cursor
    ends: dict[str, int]
    status: dict[str, Any] = field(default_factory=dict)
    changes: deque[tuple[int, str, str]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    number: int = 0
    watchers: int = 0
    is_over: bool = False


class Stream:
    """What one reader is told. `close` gives up its place also when nothing was read: a generator alone would not."""

    def __init__(self, events: Generator[bytes, None, None], *, leave: Callable[[], None]) -> None:
        self._events = events
        self._leave: Callable[[], None] | None = leave

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._events)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._events.close()
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class Hub:
    """The rooms of this process, and the thread that looks after them while anybody is there."""

    def __init__(self) -> None:
        self._rooms: dict[UUID, _Room] = {}
        self._news = threading.Condition()
        self._watchers = 0
        self._thread: threading.Thread | None = None
        self._is_closing: Callable[[], bool] = lambda: False

    def close_when(self, is_closing: Callable[[], bool]) -> None:
        """Streams end when the process is about to: a stop waits for no reader."""
        self._is_closing = is_closing

    def stream(self, job_id: UUID, last_seen: str = "") -> Stream:
        """The events of a job until it ends. Raises, at once: UnavailableError when too many watch already."""
        room = self._enter(job_id)
        return Stream(self._follow(room, last_seen), leave=lambda: self._leave(room))

    def _enter(self, job_id: UUID) -> _Room:
        with self._news:
            if self._watchers >= settings.ENVIRONMENT.web_watchers:
                raise UnavailableError("As many people watch jobs live as this server allows; ask again instead.")
            if job_id not in self._rooms:
                self._rooms[job_id] = _Room(job_id, *present(job_id))
            room = self._rooms[job_id]
            room.watchers += 1
            self._watchers += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_regularly, name="watch jobs", daemon=True)
                self._thread.start()
            return room

    def _leave(self, room: _Room) -> None:
        with self._news:
            self._watchers -= 1
            room.watchers -= 1
            if not room.watchers and self._rooms.get(room.job_id) is room:
                del self._rooms[room.job_id]

    def _follow(self, room: _Room, last_seen: str) -> Generator[bytes, None, None]:
        connection.close()  # this thread sleeps from now on, and a connection is dear
        yield b"retry: 2000\n\n"
        with self._news:
            at, greeting = _begin(room, last_seen)
        yield greeting
        until, is_over = time.monotonic() + _LONGEST_SECONDS, False
        while not is_over and not self._is_closing() and time.monotonic() < until:
            text, at, is_over = self._wait(room, at)
            yield text.encode() or b": still here\n\n"
        if is_over:
            yield b"event: end\ndata: {}\n\n"

    def _wait(self, room: _Room, at: int) -> tuple[str, int, bool]:
        """(what came after the change `at`, the newest change, whether the job is over); waits for news a while."""
        with self._news:
            self._news.wait_for(lambda: room.number > at or room.is_over or self._is_closing(), _QUIET_SECONDS)
            return "".join(text for number, _, text in room.changes if number > at), room.number, room.is_over

    def _look_regularly(self) -> None:
        try:
            while True:
                with self._news:
                    rooms = [room for room in self._rooms.values() if not room.is_over]
                    if not self._rooms or self._is_closing():
                        self._thread = None
                        self._news.notify_all()
                        return
                for room in rooms:
                    self._look(room)
                time.sleep(LOOK_SECONDS)
        finally:
            connection.close()

    def _look(self, room: _Room) -> None:
        try:
            job = Job.objects.filter(pk=room.job_id).first()
            changes = changes_since(job, room.cursor, room.ends) if job else None
        except Exception:  # noqa: BLE001 - a database that is away for a moment must not end everybody's stream
            _log.exception("could not look at job %s", room.job_id)
            return
        with self._news:
            if changes is None:
                room.is_over = True
            else:
                _note(room, changes)
            self._news.notify_all()


def _begin(room: _Room, last_seen: str) -> tuple[int, bytes]:
    """From which change on a stream goes, and what it says first."""
    for number, cursor, _ in room.changes:
        if cursor == last_seen:
            return number, b": as you were\n\n"
    return room.number, f"id: {room.cursor}\nevent: hello\ndata: {{}}\n\n".encode()


def _note(room: _Room, changes: Changes) -> None:
    body, status = changes.body, changes.body["status"]
    # The time that is left is another one at each look; on its own it is no news.
    told = {key: value for key, value in status.items() if key != "eta_seconds"}
    is_news = changes.cursor != room.cursor or told != room.status
    room.cursor, room.status = changes.cursor, told
    room.ends |= changes.ends
    if is_news:
        room.number += 1
        text = f"id: {room.cursor}\nevent: change\ndata: {json.dumps(body)}\n\n"
        room.changes.append((room.number, str(room.cursor), text))
    # One look after the end, for what the job wrote last.
    room.is_over = bool(status["final"]) and not is_news


hub = Hub()
