"""Low-rank adapters (LoRA) by PEFT: the base is frozen, and beside each of its matrices two thin ones learn.

The head learns as a whole. At the end the adapters are merged into the weights, or kept as a version of their own that
stands on its base, as PEFT saves and loads them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import parse_ref
from steelyard_contracts.training import LoRA
from steelyard_workers.training.layout import Layout, layout_of

ADAPTER_CONFIG = "adapter_config.json"


def adapt(network: Any, lora: LoRA, *, base: str) -> Any:
    """The network inside PEFT's, whose adapters and head learn.

    Raises: InvalidInputError for a target that is not there.
    """
    import peft

    layout = layout_of(network)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_targets(network, lora, layout),
        modules_to_save=_heads(layout),
    )
    made = peft.get_peft_model(network, config)
    # PEFT has noted the folder that the base was read from; its users need the base's name.
    ref, noted = parse_ref(base), made.peft_config["default"]
    noted.base_model_name_or_path, noted.revision = ref.repository, ref.revision
    return made


def base_of_adapter(folder: Path) -> str:
    """What an adapter says that it stands on, as `team/name@v1`."""
    try:
        said = json.loads((folder / ADAPTER_CONFIG).read_text())
        name, revision = said["base_model_name_or_path"], said.get("revision")
    except (OSError, ValueError, KeyError, TypeError):
        return "its base"
    return f"{name}@{revision}" if revision else str(name)


def merge(network: Any) -> Any:
    """The network itself, with the adapters added to its weights."""
    return network.merge_and_unload()


def save_adapter(network: Any, folder: Path) -> None:
    """`adapter_config.json` and `adapter_model.safetensors`, as PEFT loads them; `config.json` with its classes."""
    network.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    network.get_base_model().config.save_pretrained(folder)


def _targets(network: nn.Module, lora: LoRA, layout: Layout) -> list[str]:
    """The modules that get an adapter, by their full names."""
    able = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    }
    if not lora.targets:
        return sorted(name for name in able if not layout.is_head(name))
    for target in lora.targets:
        if not any(name == target or name.endswith(f".{target}") for name in able):
            raise InvalidInputError(
                f"adapter: no matrix or convolution of this network is called {target!r}; leave targets out for all."
            )
    return list(lora.targets)


def _heads(layout: Layout) -> list[str]:
    """The largest modules with tensors that lie outside the backbone."""
    heads = {name.partition(".")[0] for name in layout.names if layout.is_head(name)}
    return sorted(heads - {layout.backbone.partition(".")[0]})
