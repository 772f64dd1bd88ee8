"""`python -m steelyard_workers.serve`: a worker without a broker. It asks over HTTP for its next job, and does it.

This is what `steelyard worker` becomes. It needs nothing but an address and a token, so it can stand behind a firewall,
in any cloud, in a batch queue. SIGTERM gives the job that it is at back; the job goes on elsewhere.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from uuid import UUID

from celery.worker import state as celery_state

from steelyard_contracts.errors import SteelyardError
from steelyard_workers import hardware
from steelyard_workers.launchers.dispatch import Plan, launch_next, read_plan
from steelyard_workers.place import Place
from steelyard_workers.settings import WorkerSettings, read_settings
from steelyard_workers.supervise import supervise

_log = logging.getLogger(__name__)
# Seconds: no job ends sooner than its process starts.
_A_MOMENT = 0.5


class Stopping:
    """Whether the worker was told to stop, by a signal or by a platform that knows its token no more."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._interrupts = False
        self.reason = ""

    def now(self, reason: str = "") -> None:
        self.reason = self.reason or reason
        # `supervise` looks at Celery's own mark, which is the same in both kinds of worker.
        celery_state.should_stop = 0  # type: ignore[assignment]
        self._told.set()

    def __bool__(self) -> bool:
        return self._told.is_set()

    def wait(self, seconds: float) -> None:
        self._told.wait(seconds)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """What waits in here ends with a KeyboardInterrupt when the worker is told to stop."""
        self._interrupts = True
        try:
            yield
        finally:
            self._interrupts = False

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        self.now()
        if self._interrupts:
            raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 when it was told to stop or has done what it was started for."""
    asked = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    stopping = Stopping()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopping.on_signal)
    settings = read_settings()
    try:
        plan = read_plan(asked.launch, lambda: hardware.describe(settings)) if asked.launch else None
        offers = plan.launcher.offers() if plan else hardware.describe(settings)
        with Place(settings, offers, on_refusal=stopping.now) as place:
            _log.info("%s asks %s for jobs", place.settings.name, settings.url)
            if plan is not None:
                _launch(place, stopping, plan)
            else:
                _work(place, stopping, only=asked.job, once=asked.once)
    except SteelyardError as error:
        stopping.now(str(error))
    if stopping.reason:
        _log.error("%s", stopping.reason)
    return 1 if stopping.reason else 0


def _work(place: Place, stopping: Stopping, *, only: UUID | None, once: bool) -> None:
    if only is not None:
        _do(only, place)
        return
    while not stopping:
        try:
            with stopping.interrupting():
                found = place.next_job()
        except KeyboardInterrupt:
            return
        if found.job is None:
            stopping.wait(found.again_seconds)
            continue
        began = time.monotonic()
        _do(found.job, place)
        if time.monotonic() - began < _A_MOMENT:
            stopping.wait(_A_MOMENT)  # it was not to be had: another was quicker, or it cannot be done
        elif once:
            return


def _launch(place: Place, stopping: Stopping, plan: Plan) -> None:
    """Machines that were launched go on when this ends: they ask the platform themselves."""
    while not stopping:
        try:
            with stopping.interrupting():
                pause = launch_next(plan, place.next_job)
        except KeyboardInterrupt:
            return
        stopping.wait(pause)


def _do(job: UUID, place: Place) -> None:
    _log.info("job %s", job)
    settings: WorkerSettings = place.settings
    with place.at_work():
        supervise(job, settings)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after one job")
    parser.add_argument("--job", type=UUID, help="do this job and end")
    parser.add_argument("--launch", type=Path, help="start a machine for each job, as this file says")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
