"""Training states on disk: tensors, numbers and texts, written whole or not at all.

The only place where `torch.load` is called, and only with `weights_only=True`: never a pickled object.
"""

from __future__ import annotations

import pickle  # noqa: TID251 - for the name of its error alone; nothing is unpickled here
from pathlib import Path
from typing import Any

import torch

from steelyard_contracts.errors import InvalidInputError


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Into a file on its way to the platform, which checks what arrives: it need not outlive this machine."""
    torch.save(state, path)


def read_state(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU. Raises: InvalidInputError when it is more than tensors and numbers."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - see above
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InvalidInputError(
            f"{path.name} is no file of tensors that torch saved and that can be read without running code; "
            "make it safetensors with `steelyard convert`, and start from that version."
        ) from error
