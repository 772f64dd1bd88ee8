"""GGUF: a header of key-values, a table of tensors, then their bytes. Only header and table are read here.

Source: the description of the format that is kept beside ggml.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from steelyard_workers.inspection.contents import Contents, Source, Tensor, UnreadableError, warning
from steelyard_workers.inspection.dtypes import size_of

MAGIC = b"GGUF"
# (name, values in a block, bytes of a block); a plain kind of number is a block of one.
_KINDS = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _LIST = 8, 9
_MOST_KEYS, _MOST_TENSORS, _MOST_DIMENSIONS = 100_000, 1_000_000, 8
_LONGEST_NAME = 65_536
_LONGEST_VALUE = 1_000
_DEEPEST = 4
_ALIGNMENT = 32


def read_gguf(source: Source) -> Contents:
    """Raises: UnreadableError."""
    found = Contents("gguf", framework="ggml")
    cursor = _Cursor(source, len(MAGIC))
    version = cursor.number("<I")
    if not 2 <= version <= 3:  # noqa: PLR2004 - those with 64-bit counts, little end first
        raise UnreadableError("unknown-version", f"The file says it is GGUF of version {version}; 2 and 3 are read.")
    tensors, keys = cursor.number("<Q"), cursor.number("<Q")
    if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
        raise UnreadableError("header-too-large", f"The header claims {tensors:,} tensors and {keys:,} keys; not read.")
    for _ in range(keys):
        key, value = cursor.text(), cursor.value(cursor.number("<I"), 0)
        if value is not None:
            found.metadata[key] = str(value)
    table = [_row(cursor) for _ in range(tensors)]
    alignment = found.metadata.get("general.alignment", "")
    step = int(alignment) if alignment.isdecimal() and 0 < int(alignment) < 1 << 20 else _ALIGNMENT
    data = -(-cursor.position // step) * step
    beyond = []
    unknown = set()
    for name, shape, code, offset in table:
        kind, in_block, block = _KINDS.get(code, (f"type {code}", 0, 0))
        parameters = math.prod(shape)
        if not in_block:
            unknown.add(kind)
            found.tensors.append(Tensor(name, kind, shape, 0))
            continue
        size = size_of(kind, parameters) if in_block == 1 else parameters // in_block * block
        assert size is not None  # noqa: S101 - every plain kind is known
        inside = data + offset + size <= source.size
        found.tensors.append(Tensor(name, kind, shape, size, data + offset if inside else None))
        if not inside:
            beyond.append(name)
    if beyond:
        sentence = (
            f"{len(beyond):,} of {len(table):,} tensors end beyond the file, such as {beyond[0]!r}; push it again."
        )
        found.findings.append(warning("truncated", sentence, beyond[0]))
    if unknown:
        found.findings.append(warning("unknown-dtype", f"Not measured, because nobody knows it: {min(unknown)}."))
    return found


def _row(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """A tensor's name, shape, kind and place."""
    name, dimensions = cursor.text(), cursor.number("<I")
    if dimensions > _MOST_DIMENSIONS:
        raise UnreadableError("header-broken", f"{name!r} has {dimensions} dimensions; the file is damaged.")
    shape = tuple(cursor.number("<Q") for _ in range(dimensions))
    if math.prod(shape) >= 1 << 63:
        raise UnreadableError("header-broken", f"{name!r} has a shape that nothing has; the file is damaged.")
    # The format names the innermost dimension first.
    return name, shape[::-1], cursor.number("<I"), cursor.number("<Q")


class _Cursor:
    def __init__(self, source: Source, position: int) -> None:
        self._source = source
        self.position = position

    def number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def text(self) -> str:
        length = self.number("<Q")
        if length > _LONGEST_NAME:
            raise UnreadableError("header-broken", f"A name of {length:,} bytes; the file is damaged.")
        return self._take(length).decode("utf-8", "replace")

    def value(self, kind: int, depth: int) -> Any:
        """A key's value; a list is passed over and None."""
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == _TEXT:
            length = self.number("<Q")
            start = self.position
            self._skip(length)
            return self._source.read(start, start + min(length, _LONGEST_VALUE)).decode("utf-8", "replace")
        if kind == _LIST and depth < _DEEPEST:
            self._skip_list(depth)
            return None
        raise UnreadableError(
            "header-broken", f"The header holds a value of the unknown kind {kind}; nothing follows it."
        )

    def _skip_list(self, depth: int) -> None:
        kind, count = self.number("<I"), self.number("<Q")
        if kind in _NUMBERS:
            self._skip(count * struct.calcsize(_NUMBERS[kind]))
            return
        for _ in range(count):  # ends with the file: each takes at least a few bytes
            if kind == _TEXT:
                self._skip(self.number("<Q"))
            else:
                self.value(kind, depth + 1)

    def _take(self, count: int) -> bytes:
        data = self._source.read(self.position, self.position + count)
        self.position += count
        return data

    def _skip(self, count: int) -> None:
        self.position += count
        if self.position > self._source.size:
            raise UnreadableError(
                "truncated", "The header reaches beyond the end of the file: it is cut off. Push it again."
            )
