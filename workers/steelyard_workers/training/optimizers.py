"""Which tensor gets which optimizer, decay and rate.

- Matrices and kernels decay; biases, the scales of norms and single tokens, which have one dimension that matters, do
  not.
- Muon takes the matrices of hidden layers, whose updates it makes orthogonal. Convolutions, embeddings, the head,
  adapters, biases and norms go to AdamW beside it. Muon's rate is scaled so that one learning rate serves both.
- With a layer decay, each stage further from the head learns that much slower.

Frozen parameters that will open later are here from the start: without a gradient no optimizer touches them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.training import OptimizerName, TrainSpec
from steelyard_workers.training.freezing import FreezePlan
from steelyard_workers.training.layout import Layout

_MATRIX = 2


@dataclass(frozen=True, slots=True)
class Assigned:
    """What becomes of one parameter."""

    optimizer: OptimizerName
    decays: bool
    scale: float  # of the learning rate


class Optimizers:
    """One or two of torch's optimizers that step as one."""

    def __init__(self, parts: dict[OptimizerName, torch.optim.Optimizer]) -> None:
        self.parts = parts

    def set_rate(self, rate: float, *, momentum_dip: float = 0.0) -> None:
        """`rate` is the learning rate of the head; other stages follow by their scale."""
        for group in self._groups():
            group["lr"] = rate * group["scale"]
            if "betas" in group:
                group["betas"] = (group["given_momentum"] - momentum_dip, group["betas"][1])
            elif group["given_momentum"]:
                group["momentum"] = group["given_momentum"] - momentum_dip

    def step(self, scaler: torch.amp.GradScaler) -> None:
        """Together with the scaler, which skips the step when a gradient has no number."""
        for part in self.parts.values():
            scaler.step(part)
        scaler.update()

    def unscale(self, scaler: torch.amp.GradScaler) -> None:
        for part in self.parts.values():
            scaler.unscale_(part)

    def zero_grad(self) -> None:
        for part in self.parts.values():
            part.zero_grad(set_to_none=True)

    @property
    def parameters(self) -> list[Tensor]:
        return [one for group in self._groups() for one in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        return {str(name): part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[str(name)])

    def counts(self) -> dict[str, int]:
        """How many numbers each optimizer has, frozen ones that open later among them."""
        return {
            str(name): sum(one.numel() for group in part.param_groups for one in group["params"])
            for name, part in self.parts.items()
        }

    def sentence(self) -> str:
        told = []
        for name, part in self.parts.items():
            groups = part.param_groups
            tensors = sum(len(group["params"]) for group in groups)
            decaying = sum(len(group["params"]) for group in groups if group["weight_decay"])
            told.append(f"{name}: {tensors} tensors ({self.counts()[name]} numbers, {decaying} of the tensors decay)")
        return "; ".join(told)

    def _groups(self) -> Iterator[dict[str, Any]]:
        for part in self.parts.values():
            yield from part.param_groups


def make_optimizers(network: nn.Module, spec: TrainSpec, plan: FreezePlan) -> Optimizers:
    """Raises: InvalidInputError when Muon has nothing to do."""
    groups: dict[OptimizerName, dict[Assigned, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for name, parameter, assigned in assignments(network, spec, plan.layout):
        if not plan.is_frozen(name, spec.epochs - 1):
            groups[assigned.optimizer][assigned].append(parameter)
    if spec.optimizer is OptimizerName.MUON and OptimizerName.MUON not in groups:
        raise InvalidInputError(
            "Muon is for matrices between the embedding and the head, and this network has none that learn "
            "(its weights are convolutions, or frozen). Set optimizer to adamw or sgd."
        )
    return Optimizers({name: _made(name, groups[name], spec) for name in sorted(groups)})


def assignments(network: nn.Module, spec: TrainSpec, layout: Layout) -> Iterator[tuple[str, nn.Parameter, Assigned]]:
    """Every parameter with what becomes of it; one that is shared comes once."""
    seen: set[int] = set()
    for path, module in network.named_modules():
        for own, parameter in module.named_parameters(path, recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                scale = spec.layer_decay ** layout.depth_of(own)
                yield (
                    own,
                    parameter,
                    Assigned(_optimizer(own, module, parameter, spec, layout), _decays(parameter), scale),
                )


def _optimizer(name: str, module: nn.Module, parameter: Tensor, spec: TrainSpec, layout: Layout) -> OptimizerName:
    if spec.optimizer is not OptimizerName.MUON:
        return spec.optimizer
    is_hidden = not layout.is_head(name) and not isinstance(module, nn.Embedding) and ".lora_" not in name
    return OptimizerName.MUON if parameter.ndim == _MATRIX and is_hidden else OptimizerName.ADAMW


def _decays(parameter: Tensor) -> bool:
    """Biases, norms and tokens such as (1, 1, C) have one dimension longer than one."""
    return sum(side > 1 for side in parameter.shape) > 1


def _made(name: OptimizerName, groups: dict[Assigned, list[Tensor]], spec: TrainSpec) -> torch.optim.Optimizer:
    rate = spec.learning_rate
    given = [
        {
            "params": parameters,
            "weight_decay": spec.weight_decay if assigned.decays else 0.0,
            "lr": rate * assigned.scale,
            "scale": assigned.scale,
        }
        for assigned, parameters in groups.items()
    ]
    made: torch.optim.Optimizer
    match name:
        case OptimizerName.SGD:
            made = torch.optim.SGD(given, lr=rate, momentum=spec.momentum, nesterov=spec.nesterov)
        case OptimizerName.ADAMW:
            made = torch.optim.AdamW(given, lr=rate)
        case OptimizerName.MUON:
            made = torch.optim.Muon(given, lr=rate, adjust_lr_fn="match_rms_adamw")
    for group in made.param_groups:
        group["given_momentum"] = group["betas"][0] if "betas" in group else group["momentum"]
    return made
