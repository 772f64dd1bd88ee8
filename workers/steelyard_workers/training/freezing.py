"""What does not learn: the backbone or all but its last stages, or modules by pattern, and how that opens up.

A frozen tensor comes out of the training bit by bit as it went in: it has no gradient, no decay, and a frozen
BatchNorm does not move its statistics either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.training import TrainSpec
from steelyard_workers.training.layout import Layout, layout_of


@dataclass(frozen=True)
class FreezePlan:
    """Which parameters are frozen in which epoch. Without patterns, stages open from the last on.

    `always` are those that came frozen, such as the base under an adapter.
    """

    layout: Layout
    always: frozenset[str]
    patterns: tuple[str, ...] = ()
    holds_backbone: bool = False
    open_stages: int = 0
    open_every: int | None = None

    def is_frozen(self, name: str, epoch: int) -> bool:
        """`epoch` counts from 0."""
        if name in self.always:
            return True
        if self.patterns:
            return any(_matches(name, pattern) for pattern in self.patterns)
        stage = self.layout.stage_of(name)
        if not self.holds_backbone or stage is None:
            return False
        return stage <= self.layout.stages - self.stages_open_at(epoch)

    def stages_open_at(self, epoch: int) -> int:
        return self.open_stages + (epoch // self.open_every if self.open_every else 0)

    def changes_at(self, epoch: int) -> bool:
        """Whether another stage opens when this epoch begins."""
        return epoch > 0 and self.stages_open_at(epoch) > self.stages_open_at(epoch - 1)


def plan_freezing(network: nn.Module, spec: TrainSpec) -> FreezePlan:
    """Raises: InvalidInputError for a pattern that names nothing, a backbone that is not there, or nothing left."""
    layout = layout_of(network)
    always = frozenset(name for name, one in network.named_parameters() if not one.requires_grad)
    if isinstance(spec.freeze, list):
        plan = FreezePlan(layout, always, patterns=tuple(spec.freeze))
        _check_patterns(network, plan.patterns)
    else:
        holds = spec.freeze == "backbone"
        plan = FreezePlan(layout, always, (), holds, spec.unfrozen_stages, spec.unfreeze_every)
        if holds and not any(not layout.is_head(name) for name, _ in network.named_parameters()):
            raise InvalidInputError(
                "This network has no backbone that is told apart from its head; name modules with freeze instead."
            )
    if all(plan.is_frozen(name, spec.epochs - 1) for name, _ in network.named_parameters()):
        raise InvalidInputError("Everything is frozen, so nothing can learn; freeze less.")
    return plan


def freeze(network: nn.Module, plan: FreezePlan, *, epoch: int) -> None:
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not plan.is_frozen(name, epoch))


def set_training(network: nn.Module) -> None:
    """Training mode, except for modules that are frozen as a whole: their norms and dropout must not move."""
    network.train()
    for module in frozen_modules(network):
        module.eval()


def frozen_modules(network: nn.Module) -> Iterator[nn.Module]:
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(one.requires_grad for one in parameters):
            yield module


def learning(network: nn.Module) -> int:
    """How many numbers learn."""
    return sum(one.numel() for one in network.parameters() if one.requires_grad)


def _check_patterns(network: nn.Module, patterns: tuple[str, ...]) -> None:
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            known = ", ".join(sorted({".".join(name.split(".")[:3]) for name in names})[:12])
            raise InvalidInputError(f"freeze: {pattern!r} names no part of this network; parts are {known} …")


def _matches(name: str, pattern: str) -> bool:
    """A pattern names a tensor, or a module with all that is in it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
