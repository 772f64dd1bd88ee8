"""A base's tensors, by name and shape, into a network: from safetensors, a Hub-style folder, or what torch saved.

    weights = read_weights(folder)
    report = transfer(weights, network)      # loaded, reshaped, missing, unexpected

A head for other classes has another shape and so stays fresh; the report says so, and the job's log, result and card.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from steelyard_contracts.errors import InvalidInputError
from steelyard_workers.checkpoints import read_state

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SAVED_BY_TORCH = (".pt", ".pth", ".bin", ".ckpt")
# Where training scripts put the weights in what they save, and what wrappers put before each name.
_NESTS = ("state_dict", "model_state_dict", "model", "network", "ema", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "base_model.model.")
_SHOWN = 8


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

    def lines(self) -> list[str]:
        """For the log: each kind with its names, the first of them when there are many."""
        kinds = {
            "skipped because of their shape": self.reshaped,
            "missing in the base, so freshly initialised": self.missing,
            "in the base without a place here": self.unexpected,
        }
        return [f"{len(names)} {what}: {_some(names)}" for what, names in kinds.items() if names]

    def counts(self) -> dict[str, int]:
        return {
            "loaded": len(self.loaded),
            "reshaped": len(self.reshaped),
            "missing": len(self.missing),
            "unexpected": len(self.unexpected),
        }


@torch.no_grad()
def transfer(source: dict[str, Tensor], network: nn.Module) -> TransferReport:
    """Copies each tensor that has the same name and shape, whatever a wrapper has put before its name.

    Raises: InvalidInputError when nothing fits: the base is another architecture.
    """
    report, target = TransferReport(), network.state_dict()
    given = _plain_names(source, target)
    for name, tensor in target.items():
        if name not in given:
            report.missing.append(name)
        elif given[name].shape != tensor.shape:
            report.reshaped.append(name)
        else:
            tensor.copy_(given[name])
            report.loaded.append(name)
    report.unexpected = [name for name in given if name not in target]
    if not report.loaded:
        raise InvalidInputError(
            f"None of the base's {len(source)} tensors ({_some(list(source), 3)}) fits this "
            f"{type(network).__name__} ({_some(list(target), 3)}): it is another architecture. Name the one that the "
            "base was trained as with model, or start from another base."
        )
    return report


def read_weights(folder: Path, path: str | None = None) -> dict[str, Tensor]:
    """A version's tensors by name.

    Raises: InvalidInputError when there are none, or several files and none is named.
    """
    if path is not None:
        if not (folder / path).is_file():
            raise InvalidInputError(
                f"The base has no file {path}; base_file must name one of: {_some(_files(folder))}."
            )
        return _read(folder / path)
    if (folder / _WHOLE).exists():
        return _read(folder / _WHOLE)
    if (folder / _INDEX).exists():
        shards = sorted(set(json.loads((folder / _INDEX).read_text())["weight_map"].values()))
        return {name: tensor for shard in shards for name, tensor in _read(folder / shard).items()}
    for suffixes in ((".safetensors",), _SAVED_BY_TORCH):
        found = [name for name in _files(folder) if name.endswith(suffixes)]
        if len(found) == 1:
            return _read(folder / found[0])
        if found:
            raise InvalidInputError(f"The base has several files of weights: {_some(found)}. Name one with base_file.")
    raise InvalidInputError(f"The base has no weights to start from; its files are {_some(_files(folder)) or 'none'}.")


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (SafetensorError, OSError) as error:
            raise InvalidInputError(f"The base's file {path.name} is no safetensors: {error}") from error
    if path.suffix not in _SAVED_BY_TORCH:
        raise InvalidInputError(f"A training starts from safetensors or what torch saved; {path.name} is neither.")
    tensors = _tensors_in(read_state(path))
    if not tensors:
        raise InvalidInputError(f"The base's file {path.name} holds no tensors by name.")
    return tensors


def _tensors_in(saved: Any) -> dict[str, Tensor]:
    """The state dict in what a script saved: itself, or under one of the usual names."""
    if not isinstance(saved, dict):
        return {}
    tensors = {name: one for name, one in saved.items() if isinstance(name, str) and isinstance(one, Tensor)}
    return tensors or next((found for nest in _NESTS if (found := _tensors_in(saved.get(nest)))), {})


def _plain_names(source: dict[str, Tensor], target: Iterable[str]) -> dict[str, Tensor]:
    """The source under the names, without one prefix after the other, that the target knows most of."""
    wanted, best = set(target), source
    for prefix in _PREFIXES:
        stripped = {name.removeprefix(prefix): tensor for name, tensor in best.items()}
        if len(stripped) == len(best) and len(stripped.keys() & wanted) > len(best.keys() & wanted):
            best = stripped
    return best


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _some(names: list[str], most: int = _SHOWN) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
