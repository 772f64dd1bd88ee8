"""Networks: built or loaded by `transformers`, transferred, frozen, saved as any Hub client loads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import Architecture
from steelyard_workers.images import MEAN, STD

transformers.utils.logging.disable_progress_bar()

_STEM = "resnet.embedder."
_STAGE = "resnet.encoder.stages.{}."
_BACKBONE = "resnet."


@dataclass
class TransferReport:
    """What became of a base's tensors, by name."""

    loaded: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)  # skipped: another shape here
    missing: list[str] = field(default_factory=list)  # new here: freshly initialised
    unexpected: list[str] = field(default_factory=list)  # the base's, without a place here

    def sentence(self) -> str:
        new = [*self.missing, *self.reshaped]
        return f"{len(self.loaded)} tensors taken from the base, {len(new)} new ({', '.join(new) or 'none'})"


def build(architecture: Architecture, *, channels: int, labels: list[str]) -> Any:
    """A network with fresh weights."""
    config = transformers.ResNetConfig(
        num_channels=channels,
        embedding_size=architecture.embedding_size,
        hidden_sizes=architecture.hidden_sizes,
        depths=architecture.depths,
        layer_type=architecture.layer_type,
        **_label_maps(labels),
    )
    return transformers.ResNetForImageClassification(config)


def build_from_base(folder: Path, *, channels: int, labels: list[str]) -> tuple[Any, TransferReport]:
    """The base's architecture with a head for `labels`, and every tensor that fits by name and shape.

    Raises: InvalidInputError when the base takes pictures of other channels.
    """
    base = load(folder)
    if base.config.num_channels != channels:
        raise InvalidInputError(
            f"The base takes pictures of {base.config.num_channels} channels; this dataset's have {channels}.",
            expected=base.config.num_channels,
            found=channels,
        )
    config = type(base.config).from_dict({**base.config.to_dict(), **_label_maps(labels)})
    network = transformers.ResNetForImageClassification(config)
    return network, transfer(base.state_dict(), network)


def transfer(source: dict[str, Tensor], network: nn.Module) -> TransferReport:
    """Copies each tensor that has the same name and shape."""
    report, target = TransferReport(), network.state_dict()
    for name, tensor in target.items():
        if name not in source:
            report.missing.append(name)
        elif source[name].shape != tensor.shape:
            report.reshaped.append(name)
        else:
            tensor.copy_(source[name])
            report.loaded.append(name)
    report.unexpected = [name for name in source if name not in target]
    return report


def load(folder: Path) -> Any:
    """A network in evaluation mode, from safetensors only. Raises: InvalidInputError for another kind of files."""
    try:
        network = transformers.ResNetForImageClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"The version holds no network that can be loaded: {error}") from error
    return network.eval()


def frozen_prefixes(depths: list[int], *, freeze: str, unfrozen_stages: int) -> tuple[str, ...]:
    """Name prefixes of what does not train: all of the backbone, or all but its last stages."""
    if freeze == "none":
        return ()
    if unfrozen_stages == 0:
        return (_BACKBONE,)
    kept = max(len(depths) - unfrozen_stages, 0)
    return (_STEM, *(_STAGE.format(stage) for stage in range(kept)))


def freeze(network: nn.Module, prefixes: tuple[str, ...]) -> None:
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes) if prefixes else True)


def set_training(network: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Training mode, except for what is frozen: a frozen BatchNorm must not move its statistics either."""
    network.train()
    for module in frozen_modules(network, prefixes):
        module.training = False


def frozen_modules(network: nn.Module, prefixes: tuple[str, ...]) -> list[nn.Module]:
    if not prefixes:
        return []
    return [module for name, module in network.named_modules() if name and f"{name}.".startswith(prefixes)]


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and the scales of norms, which have one dimension, do not."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def reestimate_batch_norm(network: nn.Module, batches: Iterable[Tensor], prefixes: tuple[str, ...]) -> None:
    """Replaces the running statistics by the true means over the training data.

    After a short training the running averages lag behind the weights so far that accuracy collapses. Frozen
    layers keep theirs.
    """
    frozen = {id(module) for module in frozen_modules(network, prefixes)}
    live = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d) and id(one) not in frozen]
    if not live:
        return
    momenta = [one.momentum for one in live]
    for one in live:
        one.reset_running_stats()
        one.momentum = None  # a cumulative mean instead of a moving one
    set_training(network, prefixes)
    for batch in batches:
        network(pixel_values=batch)
    for one, momentum in zip(live, momenta, strict=True):
        one.momentum = momentum
    network.eval()


def save(network: Any, folder: Path, *, image_size: int) -> None:
    """`config.json`, `model.safetensors` and `preprocessor_config.json`: what `from_pretrained` looks for."""
    network.save_pretrained(folder, safe_serialization=True)
    channels = network.config.num_channels
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": image_size, "width": image_size},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * channels,
        "image_std": [STD] * channels,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


def image_size_of(folder: Path) -> int:
    """The side in pixels that a saved network was trained for."""
    found = json.loads((folder / "preprocessor_config.json").read_text())
    return int(found["size"]["height"])


def described(folder: Path) -> tuple[list[str], int]:
    """(labels, channels) of a saved network, from its config alone."""
    config = json.loads((folder / "config.json").read_text())
    names = {int(index): label for index, label in config["id2label"].items()}
    return [names[index] for index in range(len(names))], int(config["num_channels"])


def labels_of(network: Any) -> list[str]:
    return [network.config.id2label[index] for index in range(len(network.config.id2label))]


def _label_maps(labels: list[str]) -> dict[str, Any]:
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
