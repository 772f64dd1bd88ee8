"""What this machine has and how busy it is, as it tells the platform. torch is not asked: importing it takes seconds.

Inside a container, what the container may use counts, not what the machine has.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from steelyard_contracts.workers import Capabilities, Gpu, Load
from steelyard_workers.settings import WorkerSettings

_GB = 1e9
_MIB = 1024 * 1024
_CGROUP = Path("/sys/fs/cgroup")
_PATIENCE = 10.0


def describe(settings: WorkerSettings) -> Capabilities:
    """What a worker with these settings registers."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    return Capabilities(
        labels=settings.labels,
        exclusive=settings.exclusive,
        quick_only=settings.quick_only,
        cores=_cores(),
        memory_gb=round(_memory() / _GB, 1),
        disk_gb=round(shutil.disk_usage(settings.folder).free / _GB, 1),
        gpus=[Gpu(name=name, memory_gb=memory) for name, memory, _ in _gpus(settings.visible_gpus)],
        versions=_versions(),
    )


def load(settings: WorkerSettings) -> Load:
    """How busy it has been since the last call."""
    shares = [busy for _, _, busy in _gpus(settings.visible_gpus)]
    return Load(
        cpu=_share(psutil.cpu_percent()),
        memory=_share(psutil.virtual_memory().percent),
        gpu=round(sum(shares) / len(shares), 3) if shares else None,
    )


def _cores() -> int:
    """Those that this process may run on, and no more than its container's share."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _limit("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        allowed = min(allowed, max(1, round(int(quota) / int(period))))
    return allowed


def _memory() -> int:
    limit = _limit("memory.max")
    total = int(psutil.virtual_memory().total)
    return min(total, int(limit)) if limit.isdigit() else total


def _limit(name: str) -> str:
    """A limit of the container's (cgroup v2): its text, empty where there is none."""
    with contextlib.suppress(OSError):
        return (_CGROUP / name).read_text().strip()
    return ""


def _gpus(visible: str | None) -> list[tuple[str, float, float]]:
    """Name, memory in 10^9 bytes and share of time at work of each NVIDIA GPU that this process may use."""
    query = "--query-gpu=index,uuid,name,memory.total,utilization.gpu"
    try:
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
    return [
        (name, round(_number(memory) * _MIB / _GB, 1), _share(_number(busy)))
        for index, identifier, name, memory, busy in (row for row in rows if len(row) == 5)  # noqa: PLR2004 - as queried
        if is_visible(index, identifier, visible)
    ]


def is_visible(index: str, identifier: str, visible: str | None) -> bool:
    """Whether CUDA shows the GPU to this process: named by number or by the beginning of its identifier, or all are."""
    if visible is None:
        return True
    named = [one.strip() for one in visible.split(",") if one.strip()]
    return any(one == index or (one.startswith("GPU-") and identifier.startswith(one)) for one in named)


def _share(percent: float) -> float:
    return min(round(percent / 100, 3), 1)


def _number(text: str) -> float:
    """Zero for what the driver does not say ("[N/A]")."""
    with contextlib.suppress(ValueError):
        return float(text)
    return 0.0


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("steelyard", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    # A build of torch names its CUDA behind a plus: 2.13.0+cu130.
    build = found.get("torch", "").partition("+")[2]
    if build.startswith("cu") and build[2:].isdigit():
        found["cuda"] = f"{build[2:-1]}.{build[-1]}"
    return found
