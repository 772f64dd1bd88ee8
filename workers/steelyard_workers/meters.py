"""What a job's machine is busy with, measured every few seconds: `system/…` series beside the training's own.

    system/cpu_percent          of one core: 200 is two cores at work for the job, with the processes it started
    system/memory_gb            resident, of the same processes
    system/machine_cpu_percent  of the whole machine, whoever works on it
    system/gpu0_percent, system/gpu0_memory_gb    of each NVIDIA card, where there is one

Their steps are seconds since 1970, so that an attempt's go on after the former one's.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self

import psutil

EVERY_SECONDS = 5.0
_GB = 1e9


class Reporter(Protocol):
    """What takes the measures: a `JobSession`."""

    def metric(self, name: str, *, step: int, value: float) -> None: ...


class Meters:
    """Measures in a thread of its own for as long as it is entered."""

    def __init__(self, report: Reporter, *, every: float = EVERY_SECONDS) -> None:
        self._report = report
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meters", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        read_processor, cards = processor_meter(), list(graphics_meters())
        while not self._stop.wait(self._every):
            now = int(time.time())
            for read in (read_processor, *cards):
                with contextlib.suppress(psutil.Error, OSError):  # a child may be gone between two looks
                    for name, value in read():
                        self._report.metric(f"system/{name}", step=now, value=value)


Meter = Callable[[], Iterator[tuple[str, float]]]


def processor_meter() -> Meter:
    """Of this process and those that it started."""
    me = psutil.Process()
    known: dict[int, psutil.Process] = {me.pid: me}
    psutil.cpu_percent()
    me.cpu_percent()

    def read() -> Iterator[tuple[str, float]]:
        for child in me.children(recursive=True):
            known.setdefault(child.pid, child)
        busy, resident = 0.0, 0
        for pid, process in list(known.items()):
            try:
                busy += process.cpu_percent()
                resident += process.memory_info().rss
            except psutil.Error:
                del known[pid]
        yield "cpu_percent", busy
        yield "memory_gb", resident / _GB
        yield "machine_cpu_percent", psutil.cpu_percent()

    return read


def graphics_meters() -> Iterator[Meter]:
    """One for each NVIDIA card; none where the driver is missing."""
    import pynvml

    try:
        pynvml.nvmlInit()
        cards = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return
    for number, card in enumerate(cards):
        yield _card_meter(pynvml, number, card)


def _card_meter(nvml: Any, number: int, card: Any) -> Meter:
    def read() -> Iterator[tuple[str, float]]:
        try:
            yield f"gpu{number}_percent", float(nvml.nvmlDeviceGetUtilizationRates(card).gpu)
            yield f"gpu{number}_memory_gb", nvml.nvmlDeviceGetMemoryInfo(card).used / _GB
        except nvml.NVMLError:
            return  # a card that says nothing now may say something later

    return read
