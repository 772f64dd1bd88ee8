"""From a file's chunks to what is sent: the chunks that are missing, in new xorbs, and the record that makes the file.

pieces = [Piece(digest, start, end), ...]      the file, cut and hashed
assembly = assemble(pieces, known)             pure: nothing is read, nothing is sent
for xorb in assembly.xorbs: send(xorb.digest, xorb.pieces)
send(serialize([assembly.record], ...))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from steelyard_contracts.xet.hashes import file_hash, range_hash
from steelyard_contracts.xet.shards import FileRecord, Term
from steelyard_contracts.xet.xorbs import HEADER, MAX_CHUNKS, Chunk, Layout

# Well below the largest allowed, so that several travel at once and a repeated one costs little.
XORB_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of a file: bytes `start` to `end - 1`."""

    digest: bytes
    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Place:
    """The chunk `index` of a xorb."""

    xorb: bytes
    index: int


@dataclass(frozen=True, slots=True)
class NewXorb:
    """Chunks to be stored one after the other, uncompressed."""

    pieces: tuple[Piece, ...]
    layout: Layout
    digest: bytes

    @property
    def stored(self) -> int:
        return self.layout.stored


@dataclass(frozen=True, slots=True)
class Assembly:
    record: FileRecord
    xorbs: tuple[NewXorb, ...]


def assemble(pieces: Sequence[Piece], known: Mapping[bytes, Place]) -> Assembly:
    """`known`: chunks that the server has, by their hash. A chunk that repeats in the file is sent once."""
    xorbs = tuple(_pack(pieces, known))
    places = dict(known)
    for xorb in xorbs:
        places.update((piece.digest, Place(xorb.digest, index)) for index, piece in enumerate(xorb.pieces))
    terms, proofs = _terms(pieces, places)
    digest = file_hash((piece.digest, piece.length) for piece in pieces)
    return Assembly(FileRecord(digest, tuple(terms), tuple(proofs), None), xorbs)


def _pack(pieces: Iterable[Piece], known: Mapping[bytes, Place]) -> Iterable[NewXorb]:
    seen: set[bytes] = set()
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        if piece.digest in known or piece.digest in seen:
            continue
        if batch and (size + piece.length > XORB_BYTES or len(batch) == MAX_CHUNKS):
            yield _new_xorb(batch)
            batch, size = [], 0
        seen.add(piece.digest)
        batch.append(piece)
        size += piece.length
    if batch:
        yield _new_xorb(batch)


def _new_xorb(pieces: Iterable[Piece]) -> NewXorb:
    kept = tuple(pieces)
    chunks, end = [], 0
    for piece in kept:
        end += HEADER + piece.length
        chunks.append(Chunk(piece.digest, end, piece.length))
    layout = Layout(tuple(chunks))
    return NewXorb(kept, layout, layout.digest)


def _terms(pieces: Sequence[Piece], places: Mapping[bytes, Place]) -> tuple[list[Term], list[bytes]]:
    """Neighbours in the file that are neighbours in a xorb are one term."""
    terms: list[Term] = []
    proofs: list[bytes] = []
    run: list[Piece] = []
    first = Place(b"", 0)

    def close() -> None:
        length = sum(piece.length for piece in run)
        terms.append(Term(first.xorb, first.index, first.index + len(run), length))
        proofs.append(range_hash(piece.digest for piece in run))

    for piece in pieces:
        place = places[piece.digest]
        if run and (place.xorb, place.index) != (first.xorb, first.index + len(run)):
            close()
            run = []
        if not run:
            first = place
        run.append(piece)
    if run:
        close()
    return terms, proofs
