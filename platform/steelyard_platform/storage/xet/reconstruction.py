"""Where a file's bytes lie, for clients that fetch chunks themselves; and the file as a stream for others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from steelyard_contracts.errors import InvalidInputError, UnavailableError
from steelyard_contracts.xet.hashes import from_text, to_text
from steelyard_contracts.xet.shards import Term
from steelyard_contracts.xet.xorbs import Chunk, Layout, read_chunks
from steelyard_platform.storage.batches import batches
from steelyard_platform.storage.delivery import RangeUnsatisfiableError, Span
from steelyard_platform.storage.models import XetFile, Xorb, xorb_key
from steelyard_platform.storage.services import object_store
from steelyard_platform.storage.xet import terms as packing

_RECENT = 16


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Chunks `start` to `end - 1` of a xorb, which are its stored bytes `span`."""

    start: int
    end: int
    span: Span


@dataclass(slots=True)
class Reconstruction:
    """`terms` in order, `skip` bytes of the first not asked for, and what to fetch of each xorb."""

    terms: list[Term] = field(default_factory=list)
    skip: int = 0
    ranges: dict[str, list[ChunkRange]] = field(default_factory=dict)


def reconstruct(file: XetFile, span: Span | None = None) -> Reconstruction:
    """Raises: RangeUnsatisfiableError."""
    asked = span or Span(0, file.size)
    if asked.start >= file.size and file.size:
        raise RangeUnsatisfiableError
    parts = list(_overlapping(packing.unpack(bytes(file.terms)), asked))
    layouts = layouts_of(term.xorb for term, _ in parts)
    found = Reconstruction()
    for term, at in parts:
        trimmed, skipped = _trim(term, layouts[term.xorb], asked.start - at, asked.end - at)
        if not found.terms:
            found.skip = max(asked.start - at, 0) - skipped
        found.terms.append(trimmed)
    wanted: dict[bytes, list[tuple[int, int]]] = {}
    for term in found.terms:
        wanted.setdefault(term.xorb, []).append((term.start, term.end))
    for xorb, ranges in wanted.items():
        layout = layouts[xorb]
        found.ranges[to_text(xorb)] = [ChunkRange(a, b, Span(*layout.span(a, b))) for a, b in _merged(ranges)]
    return found


def _overlapping(terms: Iterable[Term], asked: Span) -> Iterator[tuple[Term, int]]:
    """(term, where it begins in the file)."""
    position = 0
    for term in terms:
        if position >= asked.end:
            return
        if position + term.length > asked.start:
            yield term, position
        position += term.length


def _trim(term: Term, layout: Layout, start: int, end: int) -> tuple[Term, int]:
    """The term without the chunks before byte `start` and behind byte `end`, and how many bytes went in front."""
    first, last, position = term.start, term.end, 0
    skipped = 0
    for index in range(term.start, term.end):
        position += layout.chunks[index].length
        if position <= start:
            first, skipped = index + 1, position
        if position >= end:
            last = index + 1
            break
    length = sum(chunk.length for chunk in layout.chunks[first:last])
    return Term(term.xorb, first, last, length), skipped


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


@dataclass(frozen=True, slots=True)
class Piece:
    """Chunks `first` to `last - 1` of a file, which are the stored bytes `span` of a xorb."""

    first: int
    last: int
    xorb: str
    span: Span


def chunks_of(file: XetFile) -> Iterator[Chunk]:
    """The file's chunks in order. Holds a few layouts at a time."""
    layouts = Layouts()
    for term in packing.unpack(bytes(file.terms)):
        yield from layouts[term.xorb].chunks[term.start : term.end]


def locate(file: XetFile, wanted: Iterable[tuple[int, int]]) -> Iterator[Piece]:
    """Where these chunks of the file lie: ascending ranges, the end exclusive. What lies behind its end is left out."""
    layouts = Layouts()
    ranges = iter(wanted)
    first, last = next(ranges, (0, 0))
    position = 0
    for term in packing.unpack(bytes(file.terms)):
        end = position + term.end - term.start
        while first < last and first < end:
            until = min(last, end)
            start_in_xorb = term.start + first - position
            span = layouts[term.xorb].span(start_in_xorb, start_in_xorb + until - first)
            yield Piece(first, until, to_text(term.xorb), Span(*span))
            first, last = (until, last) if until < last else next(ranges, (0, 0))
        position = end


class Layouts:
    """Where chunks lie, xorb by xorb as they are needed: a large file has too many to hold them all."""

    def __init__(self) -> None:
        self._recent: dict[bytes, Layout] = {}

    def __getitem__(self, xorb: bytes) -> Layout:
        """Raises: UnavailableError."""
        if xorb not in self._recent:
            if len(self._recent) == _RECENT:
                del self._recent[next(iter(self._recent))]
            self._recent |= layouts_of([xorb])
        return self._recent[xorb]


def layouts_of(xorbs: Iterable[bytes]) -> dict[bytes, Layout]:
    """Raises: UnavailableError when the store has lost one."""
    wanted = {to_text(xorb) for xorb in xorbs}
    found: dict[bytes, Layout] = {}
    for batch in batches(wanted):
        rows = Xorb.objects.filter(pk__in=batch).values_list("digest", "layout")
        found.update((from_text(digest), Layout.unpack(bytes(layout))) for digest, layout in rows)
    if len(found) != len(wanted):
        raise UnavailableError("A part of this file is missing from the store; see `manage.py verify_storage`.")
    return found


def read_file(file: XetFile, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Bytes `start` to `end - 1`, chunk by chunk, each checked. Holds a few layouts and one chunk at a time.

    Raises:
        UnavailableError: what is stored is damaged; the stream then ends early and never with wrong bytes.
    """
    stop = file.size if end is None else min(end, file.size)
    layouts = Layouts()
    for term, position in _overlapping(packing.unpack(bytes(file.terms)), Span(start, stop)):
        trimmed, skipped = _trim(term, layouts[term.xorb], start - position, stop - position)
        at = position + skipped
        for block in read_terms([trimmed], layouts):
            yield bytes(block[max(start - at, 0) : stop - at])
            at += len(block)


def read_terms(terms: Iterable[Term], layouts: Layouts) -> Iterator[bytes | memoryview]:
    """The contents of the terms' chunks, checked. Raises: UnavailableError."""
    store = object_store()
    for term in terms:
        layout = layouts[term.xorb]
        stored = store.read(xorb_key(to_text(term.xorb)), *layout.span(term.start, term.end))
        try:
            yield from read_chunks(stored, layout.chunks[term.start : term.end])
        except InvalidInputError as error:
            raise UnavailableError(
                f"The stored xorb {to_text(term.xorb)[:12]} is damaged; see `manage.py verify_storage`."
            ) from error
