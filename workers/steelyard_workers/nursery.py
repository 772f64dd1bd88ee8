"""Where the processes of jobs come from: forks of one that has loaded what most jobs need.

torch and its company take seconds to load, which somebody who waits for a prediction would wait for each time. So the
first job of a worker starts a process that loads them and does nothing else (the *fork server* of the standard
library); from it each job gets a process of its own. The server has no connection and nothing of any job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.process import BaseProcess
from typing import Any

from setproctitle import setproctitle

from steelyard_workers.libc import die_with_parent

# Elsewhere, a process that has used the system's own libraries cannot be forked.
_CAN_FORK = sys.platform == "linux"


def start_process(work: Callable[[dict[str, Any]], int], message: dict[str, Any]) -> BaseProcess:
    """A process that does `work(message)` and ends with the status that it returns; it dies with this one.

    The message goes through a pipe: no secret stands in the process's environment or command line.
    """
    return _started(_become, work, message)


@cache
def warm_up() -> None:
    """Waits for the fork server to have loaded: nobody renews a lease meanwhile. Takes time the first time alone."""
    if _CAN_FORK:
        _started(_nothing).join()


def _nothing() -> None:
    pass


def _started(main: Callable[..., None], *arguments: Any) -> BaseProcess:
    process = _new_process(main, *arguments)
    with _no_settings_in_environment():
        process.start()
    return process


def _new_process(main: Callable[..., None], *arguments: Any) -> BaseProcess:
    if not _CAN_FORK:
        return multiprocessing.get_context("spawn").Process(target=main, args=arguments)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["steelyard_workers.preloaded"])
    return context.Process(target=main, args=arguments)


def _become(work: Callable[[dict[str, Any]], int], message: dict[str, Any]) -> None:
    setproctitle("steelyard_workers.run_job")  # what `ps` shows; it is no command
    die_with_parent()  # the fork server
    threading.Thread(target=_die_with_worker, name="watch of the worker", daemon=True).start()
    sys.exit(work(message))


def _die_with_worker() -> None:
    worker = multiprocessing.parent_process()
    assert worker is not None  # noqa: S101 - it started this process
    worker.join()
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def _no_settings_in_environment() -> Iterator[None]:
    """What is started in here inherits neither the worker's token nor its other settings."""
    environment = os.environ  # noqa: TID251 - children inherit it
    settings = {key: environment.pop(key) for key in list(environment) if key.startswith("STEELYARD_")}
    try:
        yield
    finally:
        environment.update(settings)
