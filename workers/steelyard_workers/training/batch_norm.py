"""BatchNorm's statistics, estimated anew when the training is done.

After a short training the running averages lag so far behind the weights that accuracy collapses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from steelyard_workers.training.freezing import frozen_modules, set_training


@torch.no_grad()
def reestimate(network: nn.Module, batches: Iterable[Tensor], forward: Callable[[Tensor], object]) -> bool:
    """Replaces the running statistics by the means over `batches`. Frozen layers keep theirs.

    Returns:
        Whether there was anything to estimate.
    """
    frozen = {id(module) for module in frozen_modules(network)}
    live = [one for one in network.modules() if isinstance(one, _BatchNorm) and id(one) not in frozen]
    if not live:
        return False
    momenta = [one.momentum for one in live]
    for one in live:
        one.reset_running_stats()
        one.momentum = None  # a cumulative mean instead of a moving one
    set_training(network)
    for batch in batches:
        forward(batch)
    for one, momentum in zip(live, momenta, strict=True):
        one.momentum = momentum
    network.eval()
    return True
