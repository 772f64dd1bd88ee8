"""The wire format of protocol buffers, read field by field by range: a graph of gigabytes costs what its fields cost.

for field in fields_of(source, 0, source.size):
    match field.number: ...

Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from steelyard_workers.inspection.contents import Source, UnreadableError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_LONGEST_TEXT = 65_536


@dataclass(frozen=True, slots=True)
class Field:
    """`value` is a number's; `start` and `end` are where the bytes lie of everything else."""

    number: int
    wire: int
    value: int
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


def fields_of(source: Source, start: int, end: int) -> Iterator[Field]:
    """Raises: UnreadableError."""
    while start < end:
        tag, start = varint(source, start, end)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, following = varint(source, start, end)
            yield Field(number, wire, value, start, following)
        elif wire == BYTES:
            length, start = varint(source, start, end)
            following = start + length
            if following > end:
                raise UnreadableError(
                    "truncated", "A part of the file reaches beyond its end: it is cut off, or damaged."
                )
            yield Field(number, wire, 0, start, following)
        elif wire in {FIXED32, FIXED64}:
            following = start + (4 if wire == FIXED32 else 8)
            yield Field(number, wire, 0, start, following)
        else:
            raise UnreadableError("header-broken", "The file is no graph that can be read: it is damaged.")
        start = following


def varint(source: Source, start: int, end: int) -> tuple[int, int]:
    """(value, where the next thing begins)."""
    data = source.read(start, min(start + _LONGEST_VARINT, end))
    value = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says more follows
            return value, start + index + 1
    raise UnreadableError("header-broken", "The file is no graph that can be read: it is damaged or cut off.")


def varints(source: Source, field: Field) -> Iterator[int]:
    """The numbers of a field, packed or one."""
    if field.wire == VARINT:
        yield field.value
        return
    position = field.start
    while position < field.end:
        value, position = varint(source, position, field.end)
        yield value


def text(source: Source, field: Field) -> str:
    return source.read(field.start, min(field.end, field.start + _LONGEST_TEXT)).decode("utf-8", "replace")
