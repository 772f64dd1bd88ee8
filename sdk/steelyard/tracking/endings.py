"""Runs end with the program that they run in: as it ends, so do they.

    the program comes to its end ......... succeeded
    an exception that nobody caught ...... failed, with its last line
    Ctrl-C, or RunCancelled .............. cancelled

A program that is killed says nothing: `steelyard sync` finds its folder, and ends the run as failed.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from importlib import import_module
from types import TracebackType
from typing import Protocol


class Ending(Protocol):
    def finish(self) -> None: ...
    def fail(self, error: BaseException) -> None: ...


_watched: dict[int, Ending] = {}
_owner = 0
_former = sys.excepthook


def watch(run: Ending) -> None:
    global _owner, _former  # noqa: PLW0603 - a process has one hook and one end
    if _owner != os.getpid():
        _watched.clear()  # a process that was forked off ends none of its parent's runs
        _owner = os.getpid()
        _register()
    if sys.excepthook is not _hook:
        _former, sys.excepthook = sys.excepthook, _hook
    _watched[id(run)] = run


def _register() -> None:
    """Before pools of threads are shut down: a version that is sent at the very end is hashed and sent by some.

    That is what Python calls before it waits for threads, the newest first; `atexit` comes after that.
    """
    import_module("concurrent.futures.thread")  # which registers there too, and is to be called after this
    getattr(threading, "_register_atexit", atexit.register)(_finish_all)


def forget(run: Ending) -> None:
    _watched.pop(id(run), None)


def _finish_all() -> None:
    if _mine():
        _wait_for_threads()
    for run in _mine():
        run.finish()


def _wait_for_threads() -> None:
    """The program's own, which may train still; those of pools end later, and only when they are told."""
    pools = getattr(import_module("concurrent.futures.thread"), "_threads_queues", {})
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon and thread not in pools:
            thread.join()


def _hook(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    _former(kind, error, where)
    for run in _mine():
        run.fail(error)


def _mine() -> list[Ending]:
    return list(_watched.values()) if _owner == os.getpid() else []
