"""What a training loop asks of its group. Outside a group, each is the plain thing: one rank, which has everything.

network = ranks.wrap(network)                 # averages gradients over the ranks
mine = ranks.share(indices)                   # this rank's part of a batch
measures = ranks.agree(measures)              # what the first rank says, for all
stop, = ranks.any_says(session.should_stop())
"""

from __future__ import annotations

import gc
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

Value = TypeVar("Value")
_FEWEST = 2


def is_group() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def size() -> int:
    return distributed.get_world_size() if is_group() else 1


def rank() -> int:
    return distributed.get_rank() if is_group() else 0


def is_first() -> bool:
    return rank() == 0


def wrap(network: Any) -> Any:
    """The network with gradients averaged over all ranks. To be made anew when other parameters begin to learn."""
    if not is_group():
        return network
    gc.collect()  # a former wrapping still listens to the same gradients until it is gone
    device = next(network.parameters()).device
    devices = (
        [device.index if device.index is not None else torch.cuda.current_device()] if device.type == "cuda" else None
    )
    # Heads that take turns, and stages that are frozen, leave parameters without a gradient in some steps.
    return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=True)


def share(indices: Tensor) -> Tensor:
    """This rank's pictures of a batch. Two at least, where there are: a lone one has no statistics for BatchNorm."""
    mine = indices[rank() :: size()]
    return mine if len(mine) >= _FEWEST else indices[:_FEWEST]


def weight(indices: Tensor, pictures: int) -> float:
    """What this rank's mean loss over its share of `indices` counts, so that the ranks' average is the whole's mean.

    Args:
        indices: a batch, whole.
        pictures: of the step, over all its batches.
    """
    mine = len(indices[rank() :: size()])
    return mine * size() / pictures


def agree(value: Value) -> Value:
    """What the first rank says. Every rank must ask."""
    if not is_group():
        return value
    said: list[Any] = [value]
    distributed.broadcast_object_list(said, src=0)
    agreed: Value = said[0]
    return agreed


def any_says(*flags: bool) -> list[bool]:
    """Of each question, whether any rank says yes. Asked after every step, it costs a few numbers and one exchange."""
    if not is_group():
        return list(flags)
    said = torch.tensor(flags, dtype=torch.int32, device=_device())
    distributed.all_reduce(said, op=distributed.ReduceOp.MAX)
    return [bool(one) for one in said.tolist()]


def _device() -> torch.device:
    """Where the group exchanges numbers."""
    is_on_gpus = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if is_on_gpus else torch.device("cpu")


def average(value: Tensor) -> Tensor:
    """The mean of a number over the ranks."""
    if is_group():
        value = value.clone()
        distributed.all_reduce(value)
        value /= size()
    return value


def draws(generator: torch.Generator, seed: int, batch: int) -> torch.Generator:
    """The generator for what is drawn for a batch: each rank of a group draws for itself, and the same when resumed."""
    if not is_group():
        return generator
    return torch.Generator().manual_seed((seed * 1_000_003 + batch) * 1024 + rank())
