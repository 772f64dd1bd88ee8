"""TFLite (LiteRT): a flatbuffer. Its tables are walked by their offsets; only the weights among its tensors are kept.

Source: TensorFlow Lite's schema.fbs and the description of FlatBuffers' binary format.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from steelyard_workers.inspection.contents import Contents, Source, Tensor, UnreadableError, warning
from steelyard_workers.inspection.dtypes import size_of

MAGIC = b"TFL3"
_DTYPES = {
    0: "F32", 1: "F16", 2: "I32", 3: "U8", 4: "I64", 5: "STRING", 6: "BOOL", 7: "I16", 8: "C64", 9: "I8", 10: "F64",
    11: "C128", 12: "U64", 15: "U32", 16: "U16", 17: "I4", 18: "BF16",
}  # fmt: skip
# The places of fields in their tables.
_VERSION, _SUBGRAPHS, _DESCRIPTION, _BUFFERS = 0, 2, 3, 4
_TENSORS, _OPERATORS = 0, 3
_SHAPE, _TYPE, _BUFFER, _NAME = 0, 1, 2, 3
_DATA, _OFFSET, _SIZE = 0, 1, 2
_MOST = 1_000_000
_LONGEST_TEXT = 65_536


def read_tflite(source: Source) -> Contents:
    """Raises: UnreadableError."""
    found = Contents("tflite", framework="tflite")
    model = _Table(source, _uint32(source, 0))
    found.metadata["version"] = str(model.uint32(_VERSION))
    if description := model.text(_DESCRIPTION):
        found.metadata["description"] = description
    buffers = list(model.tables(_BUFFERS))
    operators = 0
    for index, graph in enumerate(model.tables(_SUBGRAPHS)):
        operators += graph.count(_OPERATORS)
        for table in graph.tables(_TENSORS):
            place = _bytes_of(buffers, table.uint32(_BUFFER), source)
            if place is None:
                continue  # what is computed has no bytes
            name = table.text(_NAME)
            found.tensors.append(_tensor(table, name if not index else f"subgraph {index}/{name}", place, found))
    found.metadata["operators"] = str(operators)
    return found


def _tensor(table: _Table, name: str, place: tuple[int, int], found: Contents) -> Tensor:
    code = table.uint8(_TYPE)
    dtype, shape = _DTYPES.get(code, f"type {code}"), table.int32s(_SHAPE)
    start, length = place
    if any(one < 0 for one in shape):
        shape = ()
    expected = size_of(dtype, math.prod(shape))
    if expected is not None and expected != length:
        sentence = f"{name!r} of {dtype}{list(shape)} takes {expected:,} bytes, not {length:,}."
        found.findings.append(warning("size-mismatch", sentence, name))
    return Tensor(name, dtype, shape, length, start)


def _bytes_of(buffers: list[_Table], index: int, source: Source) -> tuple[int, int] | None:
    """(start, size) of a buffer that holds something."""
    if not 0 < index < len(buffers):  # the first is empty by convention
        return None
    start, length = buffers[index].vector(_DATA)
    if not length and (size := buffers[index].uint64(_SIZE)) > 1:
        # A model beyond 2 GB keeps its buffers behind the flatbuffer.
        start, length = buffers[index].uint64(_OFFSET), size
    if not length:
        return None
    if start + length > source.size:
        raise UnreadableError("truncated", "Weights lie beyond the end of the file: it is cut off. Push it again.")
    return start, length


@dataclass(frozen=True, slots=True)
class _Table:
    source: Source
    position: int

    def _field(self, index: int) -> int | None:
        """Where a field lies; None when the table leaves it at its default."""
        (back,) = struct.unpack("<i", self.source.read(self.position, self.position + 4))
        layout = self.position - back
        (length,) = struct.unpack("<H", self.source.read(layout, layout + 2))
        entry = 4 + 2 * index
        if entry + 2 > length:
            return None
        (offset,) = struct.unpack("<H", self.source.read(layout + entry, layout + entry + 2))
        return self.position + offset if offset else None

    def uint8(self, index: int) -> int:
        at = self._field(index)
        return 0 if at is None else self.source.read(at, at + 1)[0]

    def uint32(self, index: int) -> int:
        at = self._field(index)
        return 0 if at is None else _uint32(self.source, at)

    def uint64(self, index: int) -> int:
        at = self._field(index)
        return 0 if at is None else int.from_bytes(self.source.read(at, at + 8), "little")

    def vector(self, index: int) -> tuple[int, int]:
        """(where its elements begin, how many there are)."""
        at = self._field(index)
        if at is None:
            return 0, 0
        start = at + _uint32(self.source, at)
        return start + 4, _uint32(self.source, start)

    def count(self, index: int) -> int:
        return self.vector(index)[1]

    def tables(self, index: int) -> Iterator[_Table]:
        start, count = self.vector(index)
        if count > _MOST:
            raise UnreadableError("header-too-large", f"A list of {count:,} parts; the file is damaged.")
        for at in range(start, start + 4 * count, 4):
            yield _Table(self.source, at + _uint32(self.source, at))

    def int32s(self, index: int) -> tuple[int, ...]:
        start, count = self.vector(index)
        if count > 16:  # noqa: PLR2004 - no tensor has so many dimensions
            return ()
        return struct.unpack(f"<{count}i", self.source.read(start, start + 4 * count))

    def text(self, index: int) -> str:
        start, count = self.vector(index)
        return self.source.read(start, start + min(count, _LONGEST_TEXT)).decode("utf-8", "replace")


def _uint32(source: Source, at: int) -> int:
    return int.from_bytes(source.read(at, at + 4), "little")
