"""What runs in the sandbox: `python -m steelyard_workers.convert.child FILE`, the safetensors on standard output.

The last line on standard error is JSON: `{"tensors": 12, "left_out": [...]}`, or `{"error": "a sentence"}`.
"""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - for the name of the error alone
import re
import resource
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from steelyard_workers.convert.isolation import is_cut_off
from steelyard_workers.convert.unloaded import write_unloaded
from steelyard_workers.inspection.contents import UnreadableError

# Where training code keeps the weights in a file that holds more than them.
_USUAL_KEYS = ("state_dict", "model_state_dict", "model", "module", "network", "net", "params", "ema", "weights")
_ALIGNMENT = 8
_SHOWN = 20
_REFUSED = re.compile(r"GLOBAL (\S+)")
_SPARE_BYTES = 2 * 1024**3


class UnconvertibleError(Exception):
    """The sentence for whoever asked for the conversion."""


def main() -> None:
    source = Path(sys.argv[1])
    try:
        summary: dict[str, Any] = _convert(source, sys.stdout.buffer)
    except UnconvertibleError as error:
        summary = {"error": str(error)}
    sys.stderr.write("\n" + json.dumps(summary))


def _convert(source: Path, target: BinaryIO) -> dict[str, Any]:
    if not is_cut_off():
        raise UnconvertibleError("The sandbox still reaches the network, so nothing was loaded in it.")
    import torch

    _limit_memory(3 * source.stat().st_size + _SPARE_BYTES)
    try:
        # The tensors stay in the file, where it is of the newer format, until each is written.
        loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source))  # noqa: TID251 - in a sandbox, and never what is not a tensor
    except pickle.UnpicklingError as error:
        return _read_unloaded(source, target, error)
    except (RuntimeError, ValueError, KeyError, EOFError, MemoryError, AttributeError, TypeError) as error:
        raise UnconvertibleError(f"torch cannot read it: {str(error)[:300] or type(error).__name__}.") from error
    tensors, left_out = _tensors_of(loaded)
    _write(tensors, target)
    return {"tensors": len(tensors), "left_out": left_out[:_SHOWN]}


def _read_unloaded(source: Path, target: BinaryIO, refusal: Exception) -> dict[str, Any]:
    """A pickled network names its classes, and torch does not load it so; its tensors can be read all the same."""
    try:
        tensors, left_out = write_unloaded(source, target)
    except (UnreadableError, zipfile.BadZipFile):
        tensors, left_out = 0, []
    if not tensors:
        raise UnconvertibleError(_why_refused(str(refusal))) from refusal
    return {"tensors": tensors, "left_out": left_out[:_SHOWN]}


def _limit_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _why_refused(message: str) -> str:
    named = _REFUSED.search(message)
    what = f"it needs {named[1]}, which is code" if named else "it holds more than tensors and plain values"
    return f"torch does not load it with weights_only=True: {what}. Save its state_dict() and push that."


def _tensors_of(loaded: Any) -> tuple[dict[str, Any], list[str]]:
    """The tensors by name, and the names of what is left out. Raises: UnconvertibleError."""
    import torch

    if isinstance(loaded, torch.Tensor):
        return {"tensor": loaded}, []
    if not isinstance(loaded, Mapping):
        raise UnconvertibleError(f"It holds a {type(loaded).__name__}; only tensors by name can be converted.")
    inner = next((key for key in _USUAL_KEYS if _has_tensors(loaded.get(key))), None)
    if not _has_tensors(loaded) and inner is not None:
        tensors, left_out = _tensors_of(loaded[inner])
        return tensors, [*(str(key) for key in loaded if key != inner), *left_out]
    tensors = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise UnconvertibleError("It holds no tensors by name.")
    return tensors, [str(key) for key, value in loaded.items() if not isinstance(value, torch.Tensor)]


def _has_tensors(value: Any) -> bool:
    import torch

    return isinstance(value, Mapping) and any(isinstance(one, torch.Tensor) for one in value.values())


def _write(tensors: dict[str, Any], target: BinaryIO) -> None:
    """The format's own order: the widest types first, so that every tensor is aligned. Raises: UnconvertibleError."""
    import torch

    names = _type_names()
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    ordered = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    for name in ordered:
        one = tensors[name]
        if one.layout is not torch.strided or one.is_quantized or one.dtype not in names:
            raise UnconvertibleError(f"The tensor {name[:100]} is {one.dtype}, {one.layout}; safetensors has no such.")
        start, end = end, end + one.numel() * one.element_size()
        header[name] = {"dtype": names[one.dtype], "shape": list(one.shape), "data_offsets": [start, end]}
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % _ALIGNMENT)
    target.write(struct.pack("<Q", len(packed)) + packed)
    for name in ordered:
        flat = tensors[name].detach().contiguous().reshape(-1)
        target.write(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    target.flush()


def _type_names() -> dict[Any, str]:
    import torch

    return {
        torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
        torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64",
        torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
        torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8", torch.bool: "BOOL",
    }  # fmt: skip


if __name__ == "__main__":
    main()
