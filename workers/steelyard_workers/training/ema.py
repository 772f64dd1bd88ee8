"""The exponential moving average of a network's weights: calmer than the weights themselves, and often better.

torch's `AveragedModel` also averages whole numbers (the batches that a BatchNorm has seen), which rounds them off and
so changes frozen ones; here they are copied.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

# The first steps count more than `decay` would let them: the average must not hang on to the initial weights.
_WARM_UP = 10


class Average:
    """`network` is the averaged copy, in evaluation mode."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network: Any = copy.deepcopy(network).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """After a step. What is equal stays equal bit by bit."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (_WARM_UP + self.updates))
        # Tied weights come once here, and twice in a state dict.
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        floats = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floats], [theirs for _, theirs in floats], 1 - decay)
        for mine, theirs in pairs:
            if not mine.is_floating_point():
                mine.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor | int]:
        return {**self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = int(state["updates"])
        self.network.load_state_dict({name: tensor for name, tensor in state.items() if name != "updates"})


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
