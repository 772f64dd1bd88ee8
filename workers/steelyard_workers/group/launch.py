"""The child of a job that several processes do: it starts them, and starts them again when one dies."""

from __future__ import annotations

import signal
from typing import Any

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from steelyard_workers.group.member import MAX_RESTARTS, work
from steelyard_workers.orders import LEFT

_FAILED = 1


def run_group(message: dict[str, Any], processes: int) -> int:
    """Until the group has ended; returns the exit status for the worker.

    The claim reaches the ranks through the pipe by which they are spawned: no file, environment or command line has it.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(message["claim"]["id"]),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        max_restarts=MAX_RESTARTS,
        monitor_interval=0.5,
        start_method="spawn",
    )
    try:
        ended = elastic_launch(config, work)(message)
    except ChildFailedError:
        return _FAILED
    except SignalException as told:
        return LEFT if told.sigval == signal.SIGTERM else _FAILED
    return LEFT if LEFT in ended.values() else 0
