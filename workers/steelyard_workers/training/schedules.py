"""The learning rate by step, as a factor of the rate that was asked for. Pure: a resumed run needs the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from steelyard_contracts.training import ScheduleName, TrainSpec

# Where one cycle begins, as a share of its highest rate; and how far momentum gives way when the rate is highest.
_CYCLE_START = 1 / 25
_CYCLE_MOMENTUM_DIP = 0.1


@dataclass(frozen=True, slots=True)
class Schedule:
    """`steps` in all, of which `rising` warm up."""

    name: ScheduleName
    steps: int
    rising: int
    final: float

    def rate(self, step: int) -> float:
        """The factor for the step that comes after `step` steps."""
        if self.name is ScheduleName.ONE_CYCLE:
            return self._cycle(step)
        if step < self.rising:
            return (step + 1) / self.rising
        match self.name:
            case ScheduleName.CONSTANT:
                return 1.0
            case ScheduleName.LINEAR:
                return 1 - (1 - self.final) * self._fallen(step)
            case ScheduleName.COSINE:
                return _half_cosine(1.0, self.final, self._fallen(step))

    def momentum_dip(self, step: int) -> float:
        """How much less momentum a step has than it was given: one cycle trades it for rate."""
        if self.name is not ScheduleName.ONE_CYCLE:
            return 0.0
        return _CYCLE_MOMENTUM_DIP * (self._cycle(step) - _CYCLE_START) / (1 - _CYCLE_START) if step else 0.0

    def _cycle(self, step: int) -> float:
        if step < self.rising:
            return _half_cosine(_CYCLE_START, 1.0, step / self.rising)
        return _half_cosine(1.0, self.final, self._fallen(step))

    def _fallen(self, step: int) -> float:
        """The share of the way down that is behind, 0 to 1."""
        return min(1.0, (step - self.rising) / max(1, self.steps - self.rising))


def schedule_of(spec: TrainSpec, steps: int) -> Schedule:
    rising = max(1, round(steps * spec.warm_up)) if spec.warm_up else 0
    return Schedule(spec.schedule, steps, rising, spec.final_rate)


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
