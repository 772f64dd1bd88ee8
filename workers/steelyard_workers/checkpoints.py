"""Training states: everything that a resumed run needs to go on bit by bit as if nothing had happened.

The only place where `torch.load` is called, and only with `weights_only=True`: tensors, numbers and texts, never
a pickled object.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn


def save_state(
    path: Path,
    *,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
    epoch: int,
    best: dict[str, float],
) -> None:
    """Written whole or not at all."""
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "generator": generator.get_state(),
        "global_generator": torch.get_rng_state(),
        "epoch": epoch,
        "best": best,
    }
    temporary = path.with_suffix(".new")
    torch.save(state, temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def restore_state(
    path: Path,
    *,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> tuple[int, dict[str, float]]:
    """Returns the number of epochs that are done and the last measures."""
    state: dict[str, Any] = torch.load(path, weights_only=True)  # noqa: TID251 - tensors and numbers only, see above
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    generator.set_state(state["generator"])
    torch.set_rng_state(state["global_generator"])
    return int(state["epoch"]), dict(state["best"])
