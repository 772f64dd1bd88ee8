"""gunicorn's configuration file: what the command line cannot say."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_LARGEST_KEPT = 4 * 1024 * 1024


def post_fork(_server: Any, _worker: Any) -> None:
    """Blocks of uploads to S3 go back to the system at once.

    Otherwise glibc learns from the first ones to keep what follows, in a heap for each thread. Smaller blocks stay on
    the heap and are used again.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)


def post_worker_init(worker: Any) -> None:
    """Before the first request: see `framing`. A process that is told to stop ends the live streams that it serves."""
    from gunicorn.http.message import Request

    from steelyard_platform.config.framing import mend
    from steelyard_platform.jobs.watching import hub

    mend(Request)

    hub.close_when(lambda: not worker.alive)
