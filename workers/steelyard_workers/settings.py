"""What a worker is told by its environment; read here and nowhere else."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    url: str
    token: str
    folder: Path  # scratch space and the cache of downloaded versions
    broker_url: str
    broker_folder: str
    threads: int

    @property
    def name(self) -> str:
        return f"{platform.node()}:{os.getpid()}"


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
    )
