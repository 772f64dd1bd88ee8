"""What a worker is told by its environment; read here and nowhere else."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from steelyard_contracts.workers import parse_labels


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    url: str
    token: str
    folder: Path  # scratch space and the cache of downloaded versions
    broker_url: str
    broker_folder: str
    threads: int
    # Between being told to stop and being gone: what a spot machine leaves, less a few seconds.
    grace_seconds: float = 15.0
    name: str = field(default_factory=lambda: _plain(platform.node()))
    labels: list[str] = field(default_factory=list)
    exclusive: bool = False
    quick_only: bool = False
    # The GPUs that CUDA will see, as it says it itself; None: all.
    visible_gpus: str | None = None
    # Its place among the platform's workers, once it has registered.
    worker_id: UUID | None = None


def read_settings() -> WorkerSettings:
    """Raises: SystemExit with a sentence when the worker cannot know where it belongs."""
    environment = os.environ  # noqa: TID251 - the worker's one place for settings
    try:
        url, token = environment["STEELYARD_URL"], environment["STEELYARD_WORKER_TOKEN"]
    except KeyError as missing:
        raise SystemExit(f"Set {missing}: a worker needs the server's address and a worker's token.") from missing
    return WorkerSettings(
        url=url,
        token=token,
        folder=Path(environment.get("STEELYARD_WORKER_FOLDER", "var/worker")).resolve(),
        broker_url=environment.get("STEELYARD_BROKER_URL", ""),
        broker_folder=environment.get("STEELYARD_BROKER_FOLDER", "var/broker"),
        # One thread by default: small networks run slower on several once anything else wants the cores.
        threads=int(environment.get("STEELYARD_WORKER_THREADS", "1")),
        grace_seconds=float(environment.get("STEELYARD_WORKER_GRACE_SECONDS", "15")),
        name=environment.get("STEELYARD_WORKER_NAME") or _plain(platform.node()),
        labels=parse_labels([environment.get("STEELYARD_WORKER_LABELS", "")]),
        exclusive=_is_yes(environment.get("STEELYARD_WORKER_EXCLUSIVE", "")),
        quick_only=_is_yes(environment.get("STEELYARD_WORKER_QUICK_ONLY", "")),
        visible_gpus=environment.get("CUDA_VISIBLE_DEVICES"),
    )


def _is_yes(text: str) -> bool:
    return text.lower() in {"1", "true", "yes", "on"}


def _plain(host: str) -> str:
    """A host's name as a worker may be called."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", host)[:90].strip("-._") or "worker"
