"""safetensors: eight bytes of length, a header of JSON, then the tensors' bytes. Only the header is read here."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from steelyard_workers.inspection.contents import Contents, Source, Tensor, UnreadableError, warning
from steelyard_workers.inspection.dtypes import size_of

_LENGTH = 8
# About 300,000 tensors. The format itself allows 100 MB, which as objects of Python would be gigabytes.
_LONGEST_HEADER = 32_000_000
_FRAMEWORKS = {"pt": "pytorch", "tf": "tensorflow", "flax": "flax", "np": "numpy", "mlx": "mlx", "paddle": "paddle"}
_MOST_FAULTS = 100


def read_safetensors(source: Source) -> Contents:
    """Raises: UnreadableError."""
    header, data = _header(source)
    found = Contents("safetensors")
    metadata = header.pop("__metadata__", None)
    if isinstance(metadata, dict):
        found.metadata = {str(key): str(value) for key, value in metadata.items()}
    found.framework = _FRAMEWORKS.get(found.metadata.get("format", ""), "")
    unknown: set[str] = set()
    for name, entry in header.items():
        tensor = _tensor(name, entry, data)
        if tensor is None:
            found.findings.append(warning("header-broken", f"The header's entry {name!r} describes no tensor.", name))
            continue
        found.tensors.append(tensor)
        expected = size_of(tensor.dtype, tensor.parameters)
        if expected is None:
            unknown.add(tensor.dtype)
        elif expected != tensor.size:
            sentence = f"{name!r} of {tensor.dtype}{list(tensor.shape)} takes {expected:,} bytes, not {tensor.size:,}."
            found.findings.append(warning("size-mismatch", sentence, name))
    found.findings += [
        warning("unknown-dtype", f"{dtype!r} is no kind of number of this format; its tensors are not measured.")
        for dtype in sorted(unknown)[:_MOST_FAULTS]
    ]
    _check_layout(found, data, source.size)
    del found.findings[_MOST_FAULTS * 3 :]
    return found


def _header(source: Source) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors' bytes begin."""
    if source.size < _LENGTH:
        raise UnreadableError("truncated", f"The file has {source.size} bytes; a header of safetensors takes more.")
    length = int.from_bytes(source.read(0, _LENGTH), "little")
    if length > _LONGEST_HEADER:
        raise UnreadableError(
            "header-too-large",
            f"The header claims to be {length:,} bytes long; {_LONGEST_HEADER:,} are read at most. Nothing else was.",
        )
    try:
        header = json.loads(source.read(_LENGTH, _LENGTH + length))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(
            "header-broken", "The header is no JSON that can be read; push the file again."
        ) from error
    if not isinstance(header, dict):
        raise UnreadableError("header-broken", "The header is no JSON object; push the file again.")
    return header, _LENGTH + length


def _tensor(name: str, entry: Any, data: int) -> Tensor | None:
    """None for an entry that describes none."""
    if not isinstance(entry, dict):
        return None
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:  # noqa: PLR2004 - begin and end
        return None
    begin, end = offsets
    if end < begin or math.prod(shape) >= 1 << 63:
        return None
    return Tensor(name, dtype[:40], tuple(shape), end - begin, data + begin)


def _are_counts(numbers: Any) -> bool:
    """Whether it is a list of whole numbers, none of them negative."""
    return isinstance(numbers, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 63 for one in numbers
    )


def _check_layout(found: Contents, data: int, size: int) -> None:
    """Each byte belongs to one tensor; what lies elsewhere, or twice, is left out of what is measured."""
    placed = sorted((one for one in found.tensors if one.start is not None), key=lambda one: (one.start or 0, one.size))
    sound: set[str] = set()
    reached, before = data, ""
    overlapping: list[tuple[str, str]] = []
    outside: list[str] = []
    for one in placed:
        start = one.start or 0
        if start + one.size > size:
            outside.append(one.name)
        elif one.size and start < reached:
            overlapping.append((one.name, before))
        else:
            sound.add(one.name)
        if start + one.size > reached:
            reached, before = start + one.size, one.name
    if outside:
        sentence = (
            f"{_so_many(outside, 'end')} beyond the file's {size:,} bytes, such as {outside[0]!r}; "
            "the file is cut off, or its header is wrong. Push it again."
        )
        found.findings.append(warning("truncated", sentence, outside[0]))
    if overlapping:
        name, other = overlapping[0]
        sentence = (
            f"{_so_many(overlapping, 'share')} bytes with another, such as {name!r} with {other!r}; no reader of "
            "safetensors takes such a file."
        )
        found.findings.append(warning("overlapping-tensors", sentence, name))
    if outside or overlapping:
        found.tensors = [
            one if one.name in sound else Tensor(one.name, one.dtype, one.shape, one.size) for one in found.tensors
        ]


def _so_many(found: Sequence[object], verb: str) -> str:
    return f"1 tensor {verb}s" if len(found) == 1 else f"{len(found):,} tensors {verb}"
