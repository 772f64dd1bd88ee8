"""What a saved network wants to see, read from its own files. Without torch: a process that runs files stays small.

how = describe(folder)                         # a version's files
pixels = how.normalised(pictures)              # (N, C, H, W) bytes -> float32, as the network was trained
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.tasks import Task

# Pixels become (value / 255 - MEAN) / STD where nobody else's numbers have to be kept.
MEAN, STD = 0.5, 0.5
_SIZE = 224  # what the Hub's processors take when they do not say
_COLOURS = 3


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A network's task and labels, and the pictures it takes: `size` pixels a side, `mean` and `std` by channel."""

    task: Task
    labels: list[str]
    channels: int
    size: int
    mean: list[float]
    std: list[float]
    model_type: str

    def normalised(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, C, H, W) bytes to what the network sees."""
        mean, std = (np.array(one, np.float32).reshape(1, -1, 1, 1) for one in (self.mean, self.std))
        return np.asarray((pictures.astype(np.float32) / 255 - mean) / std, dtype=np.float32)


def describe(folder: Path) -> Preprocessing:
    """From `config.json` and `preprocessor_config.json`. Raises: InvalidInputError."""
    config, processor = _read(folder / "config.json"), _read(folder / "preprocessor_config.json")
    try:
        names = {int(index): str(label) for index, label in config["id2label"].items()}
        labels = [names[index] for index in range(len(names))]
        channels = int(config.get("num_channels", _COLOURS))
        mean, std = normalisation_of(processor, channels)
        return Preprocessing(
            task=_task_of(config),
            labels=labels,
            channels=channels,
            size=_size_of(processor.get("size", _SIZE)),
            mean=mean,
            std=std,
            model_type=str(config.get("model_type", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInputError(
            f"The version's config.json or preprocessor_config.json is not as transformers writes them ({error!r})."
        ) from error


def normalisation_of(processor: dict[str, Any], channels: int) -> tuple[list[float], list[float]]:
    """(mean, std) by channel of a processor's description; ours where it normalises and does not say with what."""
    if not processor.get("do_normalize", True):
        return [0.0] * channels, [1.0] * channels
    mean, std = processor.get("image_mean"), processor.get("image_std")
    return _by_channel(MEAN if mean is None else mean, channels), _by_channel(STD if std is None else std, channels)


def _read(path: Path) -> dict[str, Any]:
    """Raises: InvalidInputError."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"The version has no {path.name}; a network is run from what `save_pretrained` of transformers writes."
        ) from error
    except ValueError as error:
        raise InvalidInputError(f"The version's {path.name} is no JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"The version's {path.name} is no JSON object.")
    return found


def _task_of(config: dict[str, Any]) -> Task:
    """Raises: InvalidInputError for what is neither a classifier, a detector nor a segmentation."""
    architectures = [str(name) for name in config.get("architectures") or []]
    task = Task.of_architectures(architectures)
    if task is None:
        raise InvalidInputError(
            f"The version's config.json names the architecture {', '.join(architectures) or 'none'}; "
            "what can be run here ends in ForImageClassification, ForObjectDetection or ForSemanticSegmentation."
        )
    return task


def _size_of(said: Any) -> int:
    """Processors write a side, a height and a width, or the shortest edge."""
    if isinstance(said, dict):
        said = next(said[key] for key in ("height", "shortest_edge", "longest_edge") if key in said)
    return int(said)


def _by_channel(said: Any, channels: int) -> list[float]:
    """One number for each channel; colours' are averaged for grey pictures."""
    values = [float(one) for one in (said if isinstance(said, list) else [said])]
    if len(values) == channels:
        return values
    return [sum(values) / len(values)] * channels
