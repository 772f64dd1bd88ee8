"""The child of a job that several processes do: it starts them, and starts them again when one dies.

On one machine, the group is torchrun's own: the ranks that died begin again within the attempt. On several, each
machine's child starts its own ranks; when any of them dies, so do the others, and the platform tries the training again
from its last checkpoint, with whatever machines are there then.
"""

from __future__ import annotations

import contextlib
import signal
from typing import Any
from uuid import UUID

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from steelyard.transport import Transport
from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.jobs import Claim, JoinSpec, LogBatch, LogLine
from steelyard_workers.group.hosts import GroupIncompleteError, join_group, lead_group, leave_group
from steelyard_workers.group.member import work
from steelyard_workers.orders import LEFT

_FAILED = 1
# Within an attempt, of a group on one machine.
_RESTARTS = 2
_LOOK_SECONDS = 0.5
# Numbers of lines that no rank counts to; and the longest of them.
_LAST_LINES, _LINE_LENGTH, _TOLD_SECONDS = 2_000_000_000, 8_000, 10.0
# The agents of other machines wait so long for the leader, who evaluates and commits after the last step.
_PATIENCE = 6 * 3600


def run_group(message: dict[str, Any], claim: Claim) -> int:
    """Until the group has ended; returns the exit status for the worker.

    The claim reaches the ranks through the pipe by which they are spawned: no file, environment or command line has it.
    """
    try:
        if isinstance(claim.spec, JoinSpec):
            return _join(message, claim, claim.spec)
        if claim.resources.hosts > 1:
            return _lead(message, claim)
    except GroupIncompleteError:
        return LEFT
    here = _config(claim, hosts=1, run_id=claim.id, rdzv_backend="c10d", rdzv_endpoint="localhost:0")  # a free port
    return _launch(here, message, restarts=_RESTARTS)


def _lead(message: dict[str, Any], claim: Claim) -> int:
    hosts = claim.resources.hosts
    with lead_group(message["url"], claim) as endpoint:
        return _launch(_config(claim, hosts=hosts, run_id=claim.id, **_static(endpoint, node=0)), message)


def _join(message: dict[str, Any], claim: Claim, spec: JoinSpec) -> int:
    endpoint = join_group(message["url"], spec)
    status = _launch(_config(claim, hosts=spec.hosts, run_id=spec.leader, **_static(endpoint, node=spec.node)), message)
    return leave_group(message["url"], claim) if status == 0 else status


def _config(claim: Claim, *, hosts: int, run_id: UUID, **rendezvous: Any) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=hosts,
        max_nodes=hosts,
        nproc_per_node=claim.resources.processes,
        run_id=str(run_id),
        max_restarts=_RESTARTS if hosts == 1 else 0,
        monitor_interval=_LOOK_SECONDS,
        start_method="spawn",
        **rendezvous,
    )


def _static(endpoint: str, *, node: int) -> dict[str, Any]:
    """Rank 0 is on node 0, which no other rendezvous of torch's promises."""
    configs = {"rank": node, "timeout": _PATIENCE}
    return {"rdzv_backend": "static", "rdzv_endpoint": endpoint, "rdzv_configs": configs}


def _launch(config: LaunchConfig, message: dict[str, Any], *, restarts: int = 0) -> int:
    try:
        elastic_launch(config, work)({**message, "restarts": restarts})
    except ChildFailedError as error:
        if any(one.exitcode == LEFT for one in error.failures.values()):
            return LEFT
        _tell(message, error)
        return _FAILED
    except SignalException as told:
        return LEFT if told.sigval == signal.SIGTERM else _FAILED
    return 0


def _tell(message: dict[str, Any], error: ChildFailedError) -> None:
    """Why the group has ended, into the job's log, whose writer is gone with it."""
    told = []
    for rank, one in error.failures.items():
        found: Any = one.message  # of a process that had something to say, with where it was
        said = found.get("message", "") if isinstance(found, dict) else found
        told.append(f"rank {rank} ended with status {one.exitcode}: {said}".splitlines()[0])
    lines = [LogLine(number=_LAST_LINES + number, text=text[:_LINE_LENGTH]) for number, text in enumerate(told)]
    transport = Transport(message["url"], message["claim"]["token"], patience=_TOLD_SECONDS)
    try:
        with contextlib.suppress(SteelyardError):  # the attempt may be over already
            transport.call("POST", f"/api/v1/jobs/{message['claim']['id']}/log-lines", body=LogBatch(lines=lines))
    finally:
        transport.close()
