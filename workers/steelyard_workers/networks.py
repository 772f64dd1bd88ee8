"""Networks: configured, built and loaded by `transformers`, and saved as any Hub client loads them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.tasks import Task
from steelyard_contracts.training import Architecture
from steelyard_contracts.zoo import ZOO, ZooModel

transformers.utils.logging.disable_progress_bar()

_QUERIES = 300  # as transformers has it
_MADE_EQUAL = {1: "Store the pictures in colour", 3: "Store the pictures in grey"}
_AUTO_CLASSES = {
    Task.CLASSIFICATION: "AutoModelForImageClassification",
    Task.DETECTION: "AutoModelForObjectDetection",
    Task.SEGMENTATION: "AutoModelForSemanticSegmentation",
}


def build(architecture: Architecture, *, channels: int, labels: list[str]) -> Any:
    """A ResNet classifier with fresh weights."""
    return from_config(resnet_config(architecture, channels=channels, labels=labels), Task.CLASSIFICATION)


def build_zoo(model: ZooModel, *, channels: int, labels: list[str], side: int | None = None) -> Any:
    """A network of the zoo with fresh weights."""
    config = zoo_config(model, channels=channels, labels=labels, side=side or model.image_size)
    return from_config(config, model.task)


def resnet_config(architecture: Architecture, *, channels: int, labels: list[str]) -> Any:
    return transformers.ResNetConfig(
        num_channels=channels,
        embedding_size=architecture.embedding_size,
        hidden_sizes=architecture.hidden_sizes,
        depths=architecture.depths,
        layer_type=architecture.layer_type,
        **_label_maps(labels),
    )


def zoo_config(model: ZooModel, *, channels: int, labels: list[str], side: int) -> Any:
    """The configuration of a network of the zoo, for these pictures and classes."""
    settings = copy.deepcopy(model.settings)
    if "backbone_config" in settings:
        settings["backbone_config"]["num_channels"] = channels
        if "stem_channels" in settings["backbone_config"]:
            settings["backbone_config"]["stem_channels"][0] = channels
    else:
        settings["num_channels"] = channels
    if model.takes_size:
        settings["image_size"] = side
    if settings.get("backbone_config", {}).get("model_type") == "rf_detr_dinov2":
        # Its queries are parameters, one for each that it looks for, and there must be a patch for each.
        settings["backbone_config"]["image_size"] = side
        patches = (side // settings["backbone_config"]["patch_size"]) ** 2
        settings["num_queries"] = min(settings.get("num_queries", _QUERIES), patches)
    return getattr(transformers, model.config)(**settings, **_label_maps(labels))


def base_config(folder: Path, *, channels: int, labels: list[str], side: int) -> Any:
    """The configuration of a saved network, for other classes.

    Raises: InvalidInputError when it takes pictures of other channels.
    """
    config = _saved_config(folder)
    known = channels_of_config(config)
    if known not in {None, channels}:
        raise InvalidInputError(
            f"The base takes pictures of {known} channels; this dataset's have {channels}. "
            f"{_MADE_EQUAL.get(channels, 'Make them equal')}, or start from another base.",
            expected=known,
            found=channels,
        )
    changed = {**config.to_dict(), **_label_maps(labels)}
    if isinstance(changed.get("image_size"), int):
        changed["image_size"] = side
    return type(config).from_dict(changed)


def from_config(config: Any, task: Task) -> Any:
    """Fresh weights, in float32. Raises: InvalidInputError when such a network is not for the task."""
    try:
        return getattr(transformers, _AUTO_CLASSES[task]).from_config(config, dtype=torch.float32)
    except ValueError as error:
        fitting = ", ".join(one.name for one in ZOO if one.task is task)
        raise InvalidInputError(
            f"The base is a {config.model_type!r} network, which is not for {task}. Start from a version that is, or "
            f"from scratch with a model of the zoo: {fitting}."
        ) from error


def load(folder: Path, task: Task = Task.CLASSIFICATION) -> Any:
    """A network in evaluation mode, from safetensors only. Raises: InvalidInputError for another kind of files."""
    try:
        network = getattr(transformers, _AUTO_CLASSES[task]).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"The version holds no network that can be loaded: {error}") from error
    return network.eval()


def saved_tensors(folder: Path) -> dict[str, Tensor] | None:
    """The tensors of a version that `transformers` has saved, by the names that its network knows them by.

    Files have older names for the parts of some architectures (SegFormer, RT-DETR), and shared tensors once.

    Returns:
        None for what `transformers` cannot load by itself: then the names in the files are all there is.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        kind = getattr(transformers, (config.architectures or [""])[0])
        network, info = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, AttributeError):
        return None
    missing = set(info["missing_keys"])
    return {name: tensor for name, tensor in network.state_dict().items() if name not in missing}


def image_size_of(folder: Path) -> int:
    """The side in pixels that a saved network was trained for."""
    found = json.loads((folder / "preprocessor_config.json").read_text())
    return int(found["size"]["height"])


def known_image_size(folder: Path) -> int | None:
    """The same of a version that may not say it."""
    try:
        return image_size_of(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def described(folder: Path) -> tuple[list[str], int]:
    """(labels, channels) of a saved network, from its config alone."""
    config = json.loads((folder / "config.json").read_text())
    names = {int(index): label for index, label in config["id2label"].items()}
    return [names[index] for index in range(len(names))], int(config["num_channels"])


def labels_of(network: Any) -> list[str]:
    return [network.config.id2label[index] for index in range(len(network.config.id2label))]


def channels_of_config(config: Any) -> int | None:
    """Of the pictures that a network takes; a detector's stand in its backbone's part. None: it takes no pictures."""
    return getattr(getattr(config, "backbone_config", None) or config, "num_channels", None)


def _saved_config(folder: Path) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"The base's config.json names no network that is known here: {error}") from error


def _label_maps(labels: list[str]) -> dict[str, Any]:
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
