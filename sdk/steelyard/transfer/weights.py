"""A weights file as chunks: mapped into memory, cut at its tensors, hashed on all cores."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from steelyard.bulk import Block
from steelyard_contracts.xet.assembly import NewXorb, Piece
from steelyard_contracts.xet.cutting import Cut, cut_weights
from steelyard_contracts.xet.hashes import chunk_hash
from steelyard_contracts.xet.xorbs import chunk_header

_BATCH = 64  # chunks hashed by a thread at a time


@dataclass(frozen=True, slots=True)
class Weights:
    """A file that stays mapped while it is used. `heads`: the first chunk of each tensor."""

    content: memoryview
    pieces: list[Piece]
    heads: frozenset[bytes]

    def body(self, xorb: NewXorb) -> Iterator[Block]:
        """The xorb as it is sent."""
        for piece in xorb.pieces:
            yield chunk_header(piece.length)
            yield self.content[piece.start : piece.end]


def find_cut(path: Path) -> Cut | None:
    """Where to cut the file at its tensors; None unless it is safetensors, or a zip of uncompressed entries."""
    if not path.stat().st_size:
        return None
    with mapped(path) as content:
        return cut_weights(lambda start, end: content[start:end], len(content))


@contextmanager
def open_weights(path: Path, cut: Cut) -> Iterator[Weights]:
    with mapped(path) as content:
        pieces = hashed(content, list(cut.spans()))
        yield Weights(content, pieces, frozenset(pieces[head].digest for head in cut.heads))


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """A file that is not empty, read as it is used."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with content, memoryview(content) as view:
        yield view


def hashed(content: memoryview, spans: list[tuple[int, int]]) -> list[Piece]:
    def some(first: int) -> list[Piece]:
        return [Piece(chunk_hash(content[a:b]), a, b) for a, b in spans[first : first + _BATCH]]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [piece for batch in pool.map(some, range(0, len(spans), _BATCH)) for piece in batch]
