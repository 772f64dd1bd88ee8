"""Why a job's process died: what its exit status, the kernel's counters and its memory at the last look say."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path

_MEGABYTE = 1_000_000


@dataclass(slots=True)
class Witness:
    """Looks at a process while it lives. `kills`: how often the kernel has killed for want of memory before."""

    pid: int
    kills: int
    peak: int = 0  # bytes

    def look(self) -> None:
        self.peak = max(self.peak, peak_memory(self.pid))

    def cause(self, status: int) -> str:
        return cause_of_death(status, kills=memory_kills() - self.kills, peak=self.peak)


def witness(pid: int) -> Witness:
    return Witness(pid, memory_kills())


def cause_of_death(status: int, *, kills: int, peak: int) -> str:
    """One sentence.

    Args:
        status: as `subprocess` gives it: negative for a signal.
        kills: of the kernel for want of memory, in this worker's surroundings, since the process began.
        peak: bytes of memory at most; 0 when nobody knows.
    """
    at = f", with {peak // _MEGABYTE} MB in use at most" if peak else ""
    if status == -signal.SIGKILL and kills > 0:
        return (
            f"The kernel killed the job's process for want of memory{at}. Choose a smaller batch or image size, "
            "or a worker with more memory."
        )
    if status == -signal.SIGKILL:
        return f"The job's process was killed{at}; the kernel counts no kill for want of memory."
    if status < 0:
        return f"The job's process died of {signal.Signals(-status).name}{at}."
    return f"The job's process ended with status {status}; see the log."


def memory_kills() -> int:
    """Of the kernel for want of memory: in this control group where it can be read, on this machine elsewhere."""
    for path, name in ((_group() / "memory.events", "oom_kill"), (Path("/proc/vmstat"), "oom_kill")):
        with contextlib.suppress(OSError, ValueError):
            pairs = dict(line.split() for line in path.read_text().splitlines())
            if name in pairs:
                return int(pairs[name])
    return 0


def peak_memory(pid: int) -> int:
    """Bytes that a process has had resident at most; 0 where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _group() -> Path:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                return Path("/sys/fs/cgroup") / path.lstrip("/")
    return Path("/sys/fs/cgroup")
