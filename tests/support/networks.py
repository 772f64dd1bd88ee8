"""Networks on disk, as a recipe leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steelyard_contracts.training import Task
from steelyard_workers.processors import Normalisation, write_processor


def save_network(network: Any, folder: Path, *, image_size: int) -> None:
    """What `from_pretrained` looks for; pictures are taken as the recipes' own are."""
    network.save_pretrained(folder)
    how = Normalisation.ours(getattr(network.config, "num_channels", 3))
    write_processor(folder, network, Task.CLASSIFICATION, side=image_size, normalisation=how)
