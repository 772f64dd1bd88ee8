"""What a run saves, written to a folder: a file, a folder, a network of torch's, or whatever has `save_pretrained`.

torch is never imported here: whoever hands over a network has imported it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from steelyard_contracts.errors import InvalidInputError

_WHAT = (
    "Save a file or a folder by its path, a torch module, a dict of tensors, or anything with save_pretrained; "
    "a {kind} is none of them."
)


def write_copy(thing: Any, folder: Path, *, name: str) -> None:
    """A copy as of now, so that the training may go on. `name`: of the weights' file, without its ending.

    Raises: InvalidInputError for what cannot be saved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(thing, str | Path):
        _copy(Path(thing), folder)
    elif hasattr(thing, "save_pretrained"):
        thing.save_pretrained(folder)
    elif (torch := sys.modules.get("torch")) is None:
        raise InvalidInputError(_WHAT.format(kind=type(thing).__name__))
    elif isinstance(thing, torch.nn.Module):
        _safetensors().save_model(thing, str(folder / f"{name}.safetensors"))
    elif isinstance(thing, Mapping) and thing and all(isinstance(part, torch.Tensor) for part in thing.values()):
        tensors = {str(key): part.detach().clone().contiguous() for key, part in thing.items()}
        _safetensors().save_file(tensors, str(folder / f"{name}.safetensors"))
    else:
        raise InvalidInputError(_WHAT.format(kind=type(thing).__name__))


def _copy(source: Path, folder: Path) -> None:
    if not source.exists():
        raise InvalidInputError(f"{source} does not exist, so it cannot be saved.", source=str(source))
    if source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True)
    else:
        shutil.copy2(source, folder / source.name)


def _safetensors() -> Any:
    try:
        return import_module("safetensors.torch")
    except ImportError as error:
        raise InvalidInputError("A torch module is saved as safetensors: `pip install safetensors`.") from error
