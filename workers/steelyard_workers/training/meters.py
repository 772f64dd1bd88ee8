"""Losses and rates on their way to the charts.

Reading a loss waits for the device, so losses stay there until half a second has passed or somebody has to know: a
checkpoint and a measure are made only of steps whose losses were seen to be numbers.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from steelyard_workers.training.divergence import DivergedError

_LOOK_SECONDS = 0.5
_WAITING = 1_000


class Charts(Protocol):
    """What is asked of a session here."""

    def metric(self, name: str, *, step: int, value: float) -> None: ...


@dataclass(slots=True)
class _Waiting:
    step: int
    loss: Tensor
    rate: float
    norm: Tensor | None


class Meters:
    """`advance` after each step, `look` when it has to be known."""

    def __init__(self, charts: Charts) -> None:
        self._charts = charts
        self._waiting: list[_Waiting] = []
        self._pictures = 0
        self._looked_at = time.monotonic()
        self.pictures_per_second = 0.0

    def advance(self, *, step: int, loss: Tensor, rate: float, norm: Tensor | None, pictures: int) -> bool:
        """Returns whether it has looked. Raises: DivergedError."""
        self._waiting.append(_Waiting(step, loss, rate, norm))
        self._pictures += pictures
        if len(self._waiting) < _WAITING and time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return False
        self.look()
        return True

    def look(self) -> None:
        """Sends what has gathered. Raises: DivergedError, naming the first step whose loss is no number."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        losses = torch.stack([one.loss for one in waiting]).tolist()
        norms = [one.norm for one in waiting if one.norm is not None]
        lengths = iter(torch.stack(norms).tolist() if norms else [])
        for one, loss in zip(waiting, losses, strict=True):
            self._charts.metric("train/loss", step=one.step, value=loss)
            self._charts.metric("train/lr", step=one.step, value=one.rate)
            if one.norm is not None:
                self._charts.metric("train/gradient_norm", step=one.step, value=next(lengths))
            if not math.isfinite(loss):
                raise DivergedError(f"The training diverged: the loss of step {one.step} is {loss}.", step=one.step)
        self._tell_speed(waiting[-1].step)

    def resume_clock(self) -> None:
        """What was measured meanwhile, such as a validation, is not the training's speed."""
        self._looked_at, self._pictures = time.monotonic(), 0

    def _tell_speed(self, step: int) -> None:
        elapsed = time.monotonic() - self._looked_at
        if elapsed > 0 and self._pictures:
            self.pictures_per_second = self._pictures / elapsed
            self._charts.metric("train/images_per_s", step=step, value=self.pictures_per_second)
        self.resume_clock()
