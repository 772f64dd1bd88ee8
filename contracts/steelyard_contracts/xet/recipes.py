"""A file as a list of its chunks, as the server tells it to a reader: for each, its hash (32 bytes) and length (4)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.xet.assembly import Piece
from steelyard_contracts.xet.hashes import SIZE

_ROW = struct.Struct(f"<{SIZE}sI")


def pack_chunks(chunks: Iterable[tuple[bytes, int]]) -> bytes:
    return b"".join(_ROW.pack(*chunk) for chunk in chunks)


def unpack_chunks(packed: bytes) -> list[Piece]:
    """The chunks and where each lies in the file. Raises: InvalidInputError."""
    if len(packed) % _ROW.size:
        raise InvalidInputError("The list of chunks breaks off.")
    pieces, position = [], 0
    for digest, length in _ROW.iter_unpack(packed):
        pieces.append(Piece(digest, position, position + length))
        position += length
    return pieces
