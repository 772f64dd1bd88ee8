"""The epoch that was best so far, its weights, and whether it is worth going on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from steelyard_workers.training.divergence import DivergedError


@dataclass(frozen=True, slots=True)
class Headline:
    """The measure that decides: its name among what a recipe's `validate` returns."""

    name: str
    more_is_better: bool = True

    def is_better(self, measures: dict[str, float], than: dict[str, float]) -> bool:
        """Among equals the smaller loss is better; `than` may be empty."""
        return not than or self._rank(measures) > self._rank(than)

    def _rank(self, measures: dict[str, float]) -> tuple[float, float]:
        value = measures[self.name]
        return (value if self.more_is_better else -value), -measures.get("loss", 0.0)


@dataclass
class Best:
    """`epoch` counts from 1; `stale` is the number of epochs since."""

    headline: Headline
    keeps_weights: bool
    epoch: int = 0
    measures: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Tensor] | None = None
    stale: int = 0

    def offer(self, epoch: int, measures: dict[str, float], weights: dict[str, Tensor]) -> bool:
        """Takes an epoch's weights when they are the best. Returns whether they are.

        Raises: DivergedError when a measure is no number.
        """
        if not all(math.isfinite(one) for one in measures.values()):
            told = ", ".join(f"{name} {one}" for name, one in measures.items())
            raise DivergedError(f"The training diverged: after epoch {epoch} the validation says {told}.")
        if not self.headline.is_better(measures, self.measures):
            self.stale += 1
            return False
        self.epoch, self.measures, self.stale = epoch, dict(measures), 0
        if self.keeps_weights:
            self.weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "measures": self.measures, "weights": self.weights, "stale": self.stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.stale = int(state["epoch"]), int(state["stale"])
        self.measures, self.weights = dict(state["measures"]), state["weights"]
