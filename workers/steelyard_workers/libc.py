"""What Linux's C library is asked for that Python has no words for. Elsewhere, each is nothing."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
# glibc's `mallopt`: what is larger is mapped by itself (more than 32 MiB it does not take), and how much may lie free
# at the heap's end.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_LARGEST_IN_HEAP, _ALL = 32 * 2**20, 2**31 - 1


def die_with_parent() -> None:
    """This process is killed when the one that started it has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def keep_freed_memory() -> None:
    """What one step of a training gives back stays this process's for the next step.

    Otherwise the kernel takes the same pages back, and clears them for it again, thousands of times a second: up to a
    thirteenth of a training's time, depending on where the heap happens to end.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # not in every C library
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP)
        libc.mallopt(_M_TRIM_THRESHOLD, _ALL)
