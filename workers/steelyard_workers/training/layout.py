"""Which stage of a network a tensor belongs to: the stem, one of the numbered stages of the backbone, or the head.

    layout = layout_of(network)
    layout.stage_of("resnet.encoder.stages.1.layers.0.layer.0.convolution.weight")   # 2; the stem is 0
    layout.stage_of("classifier.1.weight")                                           # None: the head

Read from the names of the tensors, so that it holds for every network of `transformers` and not only for the zoo's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# What PEFT puts before every name of a network that it wraps.
_WRAPPED = "base_model.model."
_NUMBERED = re.compile(r"\.(?:stages|layers|layer|blocks|block)\.(\d+)(?:\.|$)")
STEM = 0


@dataclass(frozen=True)
class Layout:
    """`backbone` is a name prefix that ends with a dot; `names` are all tensors' in the order of the network."""

    backbone: str
    names: tuple[str, ...]

    @cached_property
    def stages(self) -> int:
        """The number of numbered stages."""
        return max((number for name in self.names if (number := self._number(name)) is not None), default=-1) + 1

    def stage_of(self, name: str) -> int | None:
        """0 for the stem, 1 to `stages`, None for the head."""
        plain = name.removeprefix(_WRAPPED)
        if not plain.startswith(self.backbone):
            return None
        number = self._number(plain)
        if number is not None:
            return number + 1
        return self.stages if plain in self._after_stages else STEM

    def is_head(self, name: str) -> bool:
        return self.stage_of(name) is None

    def depth_of(self, name: str) -> int:
        """How many stages lie between a tensor and the head: 0 for the head itself, 1 for the last stage."""
        stage = self.stage_of(name)
        return 0 if stage is None else self.stages + 1 - stage

    def _number(self, name: str) -> int | None:
        plain = name.removeprefix(_WRAPPED)
        found = _NUMBERED.search(plain, len(self.backbone) - 1) if plain.startswith(self.backbone) else None
        return int(found.group(1)) if found else None

    @cached_property
    def _after_stages(self) -> frozenset[str]:
        """The backbone's tensors that stand behind its last stage, such as a closing norm."""
        last = max((index for index, name in enumerate(self.names) if self._number(name) is not None), default=-1)
        return frozenset(self.names[last + 1 :] if last >= 0 else ())


def layout_of(network: Any) -> Layout:
    """The backbone is the module of that name (a detector's), or what `transformers` calls the base model."""
    names = tuple(name.removeprefix(_WRAPPED) for name in network.state_dict())
    modules = (name.removeprefix(_WRAPPED) for name, _ in network.named_modules())
    backbones = [name for name in modules if name.rpartition(".")[2] == "backbone"]
    prefix = min(backbones, key=len) if backbones else str(getattr(network, "base_model_prefix", ""))
    return Layout(f"{prefix}.", names)
