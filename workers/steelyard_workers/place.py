"""A worker's place among the platform's workers: it registers, gives signs of life beside its work, and says goodbye.

    with Place(settings, hardware.describe(settings), on_job=ring) as place:
        with place.at_work():
            supervise(job, place.settings)

Signs of life go on while a job runs. The answer to one that an idle worker gives may name a job that waits: that is how
it hears of jobs whose message was lost, or went to a machine that they did not fit.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self
from uuid import UUID

from steelyard.transport import Transport
from steelyard_contracts.errors import AuthenticationError, ForbiddenError, SteelyardError
from steelyard_contracts.workers import Beat, Capabilities, NextJob, NextJobRequest, Registration, WorkerPlace
from steelyard_workers import hardware
from steelyard_workers.settings import WorkerSettings

_log = logging.getLogger(__name__)
# The platform may be starting at the same time, on the same machine.
_PATIENCE = 120.0
_WAIT_SECONDS = 20.0
_AFTER_A_FAULT = 5.0
_GOODBYE_SECONDS = 3.0


class Place:
    """Made by registering; its `settings` are those for `supervise`.

    Args:
        settings: the worker's, before it has a place.
        has: what it registers.
        on_job: called, from another thread, with a job that waits while this worker is idle.
        on_refusal: called with a sentence when the token opens nothing any more.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        has: Capabilities,
        *,
        on_job: Callable[[UUID], None] | None = None,
        on_refusal: Callable[[str], None] | None = None,
    ) -> None:
        self.settings, self._has = settings, has
        self._on_job, self._on_refusal = on_job, on_refusal
        self._transport = Transport(settings.url, settings.token, patience=_PATIENCE)
        self._asking = Transport(settings.url, settings.token, patience=0)
        self._beat_seconds = 10.0
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="signs of life", daemon=True)

    def __enter__(self) -> Self:
        """Raises: SteelyardError when the platform cannot be reached or does not know the token."""
        self._register()
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(_GOODBYE_SECONDS)
        with contextlib.suppress(SteelyardError):
            self._transport.patience = _GOODBYE_SECONDS
            self._transport.call("POST", f"{self._home}/stopped", repeatable=False)
        self._transport.close()
        self._asking.close()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While a job runs, the worker is not idle."""
        self._is_idle.clear()
        try:
            yield
        finally:
            self._is_idle.set()

    def next_job(self, *, exclude: Sequence[UUID] = ()) -> NextJob:
        """A job that waits, asked for without a broker; the platform may keep the question for a while.

        A platform that does not answer is asked again later: `again_seconds`.
        """
        request = NextJobRequest(wait_seconds=_WAIT_SECONDS, exclude=list(exclude))
        try:
            return self._asking.post(NextJob, f"{self._home}/next-job", request)
        except AuthenticationError as error:
            self._refuse(error)
        except SteelyardError as error:
            _log.warning("could not ask for a job: %s", error)
        return NextJob(again_seconds=_AFTER_A_FAULT)

    @property
    def _home(self) -> str:
        return f"/api/v1/workers/{self.settings.worker_id}"

    def _register(self) -> None:
        registration = Registration(
            name=self.settings.name,
            host=platform.node()[:200] or "unknown",
            capabilities=self._has,
        )
        place = self._transport.post(WorkerPlace, "/api/v1/workers", registration, repeatable=True)
        self.settings = replace(self.settings, worker_id=place.id, name=place.name)
        self._beat_seconds = place.beat_seconds

    def _live(self) -> None:
        while not self._ended.wait(self._beat_seconds):
            try:
                self._beat()
            except AuthenticationError as error:
                self._refuse(error)
            except ForbiddenError:
                self._come_back()
            except SteelyardError as error:
                _log.warning("the platform did not hear a sign of life: %s", error)

    def _beat(self) -> None:
        sign = Beat(load=hardware.load(self.settings), is_idle=self._is_idle.is_set())
        answer = self._transport.post(NextJob, f"{self._home}/beat", sign)
        if answer.job is not None and self._on_job is not None and self._is_idle.is_set():
            self._on_job(answer.job)

    def _come_back(self) -> None:
        """Somebody took the worker off the list while it was silent: it registers again."""
        try:
            self._register()
        except SteelyardError as error:
            _log.warning("could not register again: %s", error)

    def _refuse(self, error: AuthenticationError) -> None:
        self._ended.set()
        if self._on_refusal is not None:
            self._on_refusal(str(error))
