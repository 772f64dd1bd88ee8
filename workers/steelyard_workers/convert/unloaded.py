"""The tensors of a pickled network, for what torch does not load with `weights_only=True`: read, and nothing is loaded.

The pickle is followed without obeying it, as the inspection does. A tensor is called by the way to it through the
network's modules, as its `state_dict` would call it. Of a checkpoint that holds several things, the network counts.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from steelyard_workers.inspection.contents import Source, Tensor, UnreadableError
from steelyard_workers.inspection.dtypes import size_of
from steelyard_workers.inspection.torch_files import pickle_entry, read_torch

# Where checkpoints keep the network, the one to be used first: averaged weights before those that were trained.
_NETWORKS = ("ema", "model", "module", "network", "net", "state_dict", "model_state_dict")
_WRITABLE = frozenset(
    [
        "F64",
        "F32",
        "F16",
        "BF16",
        "F8_E4M3",
        "F8_E5M2",
        "C64",
        "I64",
        "I32",
        "I16",
        "I8",
        "U64",
        "U32",
        "U16",
        "U8",
        "BOOL",
    ]  # all that safetensors knows
)
_ALIGNMENT = 8


def write_unloaded(path: Path, target: BinaryIO) -> tuple[int, list[str]]:
    """Writes the network's tensors as safetensors; how many, and what of the file is left out. None: 0.

    Raises: UnreadableError, before anything is written.
    """
    if not zipfile.is_zipfile(path):
        return 0, []
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        entry = pickle_entry(archive)
        if entry is None:
            return 0, []
        source = Source(file)
        found, left_out = _of_the_network(read_torch(source, archive, entry).tensors)
        if found:
            _write(source, found, target)
    return len(found), left_out


def _of_the_network(tensors: Iterable[Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """By their names in the network; without those whose values are nowhere, or of a kind that is not written."""
    groups: dict[str, dict[str, Tensor]] = {}
    for one in tensors:
        first, _, rest = one.name.partition(".")
        groups.setdefault(first, {}).setdefault(rest, one)
    chosen = next((name for name in _NETWORKS if "" not in groups.get(name, {"": None})), None)
    if chosen is None:
        named, left_out = {one.name: one for group in groups.values() for one in group.values()}, []
    else:
        named, left_out = groups[chosen], sorted(name for name in groups if name != chosen)
    kept = {name: one for name, one in named.items() if name and _has_values(one)}
    return kept, [*left_out, *(name for name in named if name not in kept)]


def _has_values(tensor: Tensor) -> bool:
    is_there = tensor.start is not None or tensor.inline is not None or not tensor.size
    return is_there and tensor.dtype in _WRITABLE


def _write(source: Source, tensors: dict[str, Tensor], target: BinaryIO) -> None:
    """In the format's own order: the widest types first, so that every tensor is aligned."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    ordered = sorted(tensors, key=lambda name: (-(size_of(tensors[name].dtype, 1) or 1), name))
    end = 0
    for name in ordered:
        one = tensors[name]
        start, end = end, end + one.size
        header[name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [start, end]}
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % _ALIGNMENT)
    for name in ordered:  # whatever cannot be read is met before the first byte is written
        one = tensors[name]
        if one.start is not None and one.start + one.size > source.size:
            raise UnreadableError("truncated", f"The tensor {name[:100]} reaches beyond the end of the file.")
    target.write(struct.pack("<Q", len(packed)) + packed)
    for name in ordered:
        one = tensors[name]
        if one.inline is not None:
            target.write(one.inline)
        elif one.start is not None:
            target.writelines(source.blocks(one.start, one.start + one.size))
    target.flush()
