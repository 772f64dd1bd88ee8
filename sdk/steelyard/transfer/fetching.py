"""Fetching a file by its chunks: what lies on disk already is kept, the rest comes by several ranged reads at once.

    fetch_file(store, xet, Path("model.safetensors"))

It is put together in `model.safetensors.part`; each chunk is checked against its hash, the list of chunks against the
file's; then fsync and rename. A fetch that broke off leaves the `.part`, whose sound chunks the next one keeps. Chunks
of the file that stands at the path now, in an older version, are copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from steelyard.progress import Report, silent
from steelyard.transfer.copying import Run, copy_runs, joined
from steelyard.transfer.store import ChunkStore, Fetch
from steelyard.transfer.weights import find_cut, hashed, mapped, open_weights
from steelyard.transport import Transport
from steelyard_contracts.errors import DigestMismatchError
from steelyard_contracts.xet.assembly import Piece
from steelyard_contracts.xet.hashes import file_hash, to_text
from steelyard_contracts.xet.xorbs import read_chunks

_AT_ONCE = 4
_CHUNKS_A_RANGE = 128  # 16 MB
_RANGES_ASKED = 128


def fetch_file(transport: Transport, store: ChunkStore, xet: str, target: Path, *, report: Report = silent) -> int:
    """Makes `target` the file with this hash; returns how many bytes of content had to travel.

    Raises:
        DigestMismatchError: what came is not what the hash names; `target` is as it was.
        SteelyardError: as the server said.
    """
    pieces = store.chunks(xet)
    if to_text(file_hash((piece.digest, piece.length) for piece in pieces)) != xet:
        raise DigestMismatchError(f"The server's list of chunks does not make the file {xet}; pull again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        missing = _missing(pieces, _sound(part, pieces))
        os.ftruncate(descriptor, pieces[-1].end if pieces else 0)
        missing = _copy(target, descriptor, missing)
        moved = _Fetching(transport, descriptor, pieces, missing).run(store, xet, report)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(target)
    _sync_folder(target.parent)
    store.report("xet_download_summary", size=pieces[-1].end if pieces else 0, moved=moved)
    return moved


def _sound(part: Path, pieces: list[Piece]) -> set[int]:
    """Which chunks an interrupted fetch has left in place, by their index."""
    size = part.stat().st_size
    inside = [piece for piece in pieces if piece.end <= size]
    if not inside:
        return set()
    with mapped(part) as content:
        found = hashed(content, [(piece.start, piece.end) for piece in inside])
    return {index for index, (one, wanted) in enumerate(zip(found, inside, strict=True)) if one.digest == wanted.digest}


def _missing(pieces: list[Piece], sound: set[int]) -> dict[bytes, list[Piece]]:
    """What is to be written, by hash: a chunk may stand at several places."""
    missing: dict[bytes, list[Piece]] = {}
    for index, piece in enumerate(pieces):
        if index not in sound:
            missing.setdefault(piece.digest, []).append(piece)
    return missing


def _copy(older: Path, descriptor: int, missing: dict[bytes, list[Piece]]) -> dict[bytes, list[Piece]]:
    """Takes what the older file has; returns what is still missing."""
    cut = find_cut(older) if missing and older.is_file() else None
    if cut is None:
        return missing
    left = dict(missing)
    with open_weights(older, cut) as weights, older.open("rb") as source:
        runs = joined(
            Run(piece.start, piece.end, place.start) for piece in weights.pieces for place in left.pop(piece.digest, ())
        )
        copy_runs(source.fileno(), descriptor, runs)
    return left


@dataclass(slots=True)
class _Fetching:
    """The chunks that have to travel, several ranges at once, each tried again when it breaks off."""

    transport: Transport
    descriptor: int
    pieces: list[Piece]
    missing: dict[bytes, list[Piece]]

    def run(self, store: ChunkStore, xet: str, report: Report) -> int:
        wanted = list(_ranges(self.pieces, self.missing))
        total = sum(self.pieces[end - 1].end - self.pieces[first].start for first, end in wanted)
        done = 0
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            # Addresses are valid for a while only, so they are asked for as they are needed.
            for first in range(0, len(wanted), _RANGES_ASKED):
                fetches = store.ranges(xet, wanted[first : first + _RANGES_ASKED])
                for size in pool.map(self._fetch, fetches):
                    done += size
                    report(done, total)
        return done

    def _fetch(self, one: Fetch) -> int:
        """Raises: SteelyardError."""
        self.transport.repeat(lambda: self._write(one))
        return self.pieces[one.last - 1].end - self.pieces[one.first].start

    def _write(self, one: Fetch) -> None:
        chunks = self.pieces[one.first : one.last]
        with self.transport.range(one.url, one.start, one.end) as stored:
            for piece, data in zip(chunks, read_chunks(stored, chunks), strict=True):
                for place in self.missing.get(piece.digest, ()):
                    os.pwrite(self.descriptor, data, place.start)


def _ranges(pieces: list[Piece], missing: dict[bytes, list[Piece]]) -> Iterator[tuple[int, int]]:
    """Runs of chunks to fetch, each chunk once, none longer than `_CHUNKS_A_RANGE`."""
    asked: set[bytes] = set()
    start = None
    for index, piece in enumerate(pieces):
        needed = piece.digest in missing and piece.digest not in asked
        if start is not None and (not needed or index - start == _CHUNKS_A_RANGE):
            yield start, index
            start = None
        if needed:
            asked.add(piece.digest)
            start = index if start is None else start
    if start is not None:
        yield start, len(pieces)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
