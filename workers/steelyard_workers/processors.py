"""How pictures become numbers for a network: what `preprocessor_config.json` says, read and written.

A base of the Hub was trained with numbers of its own, such as ImageNet's means; what is fine-tuned from it goes on
with them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from steelyard_contracts.training import Task
from steelyard_workers.preprocessing import MEAN, STD, normalisation_of

PROCESSOR_FILE = "preprocessor_config.json"
_CHANNELS = 3
_CLASSES = {
    Task.CLASSIFICATION: "ViTImageProcessor",
    Task.DETECTION: "RTDetrImageProcessor",
    Task.SEGMENTATION: "SegformerImageProcessor",
}
# Detectors whose own processor decodes their answers in another way.
_BY_MODEL = {"yolos": "YolosImageProcessor", "detr": "DetrImageProcessor", "rf_detr": "RfDetrImageProcessor"}


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Bytes become (value / 255 - mean) / std, by channel."""

    mean: tuple[float, ...] = (MEAN,) * _CHANNELS
    std: tuple[float, ...] = (STD,) * _CHANNELS

    @classmethod
    def ours(cls, channels: int) -> Self:
        """What is used where nobody else's numbers have to be kept."""
        return cls((MEAN,) * channels, (STD,) * channels)

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """A saved network's; ours for one that says nothing."""
        if folder is None or not (folder / PROCESSOR_FILE).exists():
            return cls()
        mean, std = normalisation_of(json.loads((folder / PROCESSOR_FILE).read_text()), _CHANNELS)
        return cls(tuple(mean), tuple(std))

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) from 0..1 to what the network sees."""
        mean, std = (torch.tensor(one, device=pictures.device).view(1, -1, 1, 1) for one in (self.mean, self.std))
        return (pictures - mean) / std


def write_processor(folder: Path, network: Any, task: Task, *, side: int, normalisation: Normalisation) -> None:
    """So that `AutoImageProcessor.from_pretrained` makes the same numbers of a picture."""
    described = {
        "image_processor_type": _BY_MODEL.get(network.config.model_type, _CLASSES[task]),
        "do_resize": True,
        "size": {"height": side, "width": side},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(normalisation.mean),
        "image_std": list(normalisation.std),
    }
    match task:
        case Task.SEGMENTATION:
            described["do_reduce_labels"] = False
        case Task.DETECTION:
            described["do_pad"] = False
        case Task.CLASSIFICATION:
            pass
    (folder / PROCESSOR_FILE).write_text(json.dumps(described, indent=2) + "\n")
