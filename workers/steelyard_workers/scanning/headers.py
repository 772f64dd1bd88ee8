"""The header of a safetensors file, held against the file: what it says must be true to the last byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from typing import IO, Any

from steelyard_workers.scanning.report import Report, shown

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # as the format's own reader has it
_BITS = {
    **dict.fromkeys(["F4", "U4", "I4"], 4),
    **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
    **dict.fromkeys(["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"], 8),
    **dict.fromkeys(["U16", "I16", "F16", "BF16"], 16),
    **dict.fromkeys(["U32", "I32", "F32"], 32),
    **dict.fromkeys(["U64", "I64", "F64", "C64"], 64),
}


class _LieError(Exception):
    """The sentence of the finding."""


def scan_safetensors(stream: IO[bytes], size: int, where: str, report: Report) -> None:
    """Reads the header alone."""
    try:
        length = _length(stream, size)
        _check(_parsed(stream.read(length)), size - _LENGTH_BYTES - length)
    except _LieError as lie:
        report.danger("lying-header", f"The safetensors header of {shown(where)} is not true: {lie}.")


def _length(stream: IO[bytes], size: int) -> int:
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    if length > _LONGEST_HEADER or _LENGTH_BYTES + length > size:
        raise _LieError(f"it announces a header of {length} bytes in a file of {size}")
    return length


def _parsed(header: bytes) -> dict[str, Any]:
    try:
        found = json.loads(header, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _LieError("it is not JSON") from error
    if not isinstance(found, dict):
        raise _LieError("it is no JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _LieError("it names something twice")
    return found


def _check(header: dict[str, Any], size: int) -> None:
    """Every tensor lies behind the one before it, without a gap, and the last ends with the file."""
    end = 0
    for begin, stop, name in sorted(_spans(header)):
        if begin != end:
            raise _LieError(
                f"the bytes of {shown(name)} {'overlap those of another' if begin < end else 'leave a gap'}"
            )
        end = stop
    if end != size:
        raise _LieError(f"its tensors take {end} bytes, and the file has {size}")


def _spans(header: dict[str, Any]) -> Iterator[tuple[int, int, str]]:
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        match tensor:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if _are_sizes(shape):
                pass
            case _:
                raise _LieError(f"{shown(name)} has no type, shape and place")
        # A type that is not known here may be newer than this; how many bytes it takes, nobody can say then.
        bits = _BITS.get(dtype)
        if not 0 <= begin <= end or (bits is not None and (end - begin) * 8 != prod(shape) * bits):
            raise _LieError(f"{shown(name)} takes {end - begin} bytes, which its shape and type do not")
        yield begin, end, name


def _are_sizes(shape: list[Any]) -> bool:
    return all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape)
