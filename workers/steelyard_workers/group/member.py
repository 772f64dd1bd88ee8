"""One rank of a group, from its start to its end."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from steelyard_contracts.jobs import Claim, JoinSpec
from steelyard_workers.group.silent import SilentSession
from steelyard_workers.libc import die_with_parent
from steelyard_workers.orders import LEFT, JobLeftError
from steelyard_workers.session import JobSession

# The other ranks wait this long while the first validates or saves.
_PATIENCE = timedelta(hours=6)


def work(message: dict[str, Any]) -> None:
    """The rank's share of the job. Raises: SystemExit, with LEFT, when the group was told to leave."""
    from steelyard_workers.run_job import do_claim

    die_with_parent()  # torchrun's agent
    rank, restarts = _told("RANK"), _told("TORCHELASTIC_RESTART_COUNT")
    _join(restarts)
    claim = _share_of(Claim.model_validate(message["claim"]))
    where = message["url"], Path(message["folder"])
    session = JobSession(claim, *where) if rank == 0 else SilentSession(claim, *where, rank)
    try:
        with session:
            signal.signal(signal.SIGTERM, session.orders.on_terminate)
            if restarts:
                _go_on(session, restarts)
            # A rank on several machines cannot tell its own failure from another's: the platform tries again.
            is_watched = restarts < message["restarts"] or _told("GROUP_WORLD_SIZE") > 1
            do_claim(session, threads=message["threads"], may_start_again=is_watched)
    except JobLeftError:
        # Not returned: an agent that was told to end waits for the ranks to be gone, and reads no answers (torch 2.13).
        sys.exit(LEFT)
    distributed.destroy_process_group()


def _share_of(claim: Claim) -> Claim:
    """A machine that joined does what the leader's spec says, with rights of its own."""
    return claim.model_copy(update={"spec": claim.spec.train}) if isinstance(claim.spec, JoinSpec) else claim


def _join(restarts: int) -> None:
    """Meets the other ranks in the agent's store, under a name of this start's own.

    The store outlives a restart (torch 2.13), and in it the addresses of the ranks before, to which new ones would try
    to connect.
    """
    has_gpus = torch.cuda.is_available()
    if has_gpus:
        torch.cuda.set_device(_told("LOCAL_RANK"))
    address = os.environ["MASTER_ADDR"]  # noqa: TID251 - as below
    shared = TCPStore(address, _told("MASTER_PORT"), is_master=False, timeout=_PATIENCE)
    distributed.init_process_group(
        "nccl" if has_gpus else "gloo",
        store=PrefixStore(f"start-{restarts}", shared),
        rank=_told("RANK"),
        world_size=_told("WORLD_SIZE"),
        timeout=_PATIENCE,
    )


def _go_on(session: JobSession, restarts: int) -> None:
    """After a restart within the attempt: what the first rank hears of the last checkpoint is told to all."""
    known: list[Any] = [session.begin_again(restarts) if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(known, src=0)
    session.claim = session.claim.model_copy(update=dict(known[0]))


def _told(name: str) -> int:
    return int(os.environ.get(name, "0"))  # noqa: TID251 - torchrun's way to tell a rank which it is
