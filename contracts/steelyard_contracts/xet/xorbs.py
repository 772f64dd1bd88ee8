"""A xorb: up to 64 MiB of chunks, one after the other, each behind a header of eight bytes.

    version (1) · stored length (3) · scheme (1) · length (3) · stored bytes

A footer that begins with `XETBLOB` may follow; it says nothing that the chunks do not, and is neither trusted nor kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import lz4.frame

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.xet.hashes import SIZE, chunk_hash, is_dedup_candidate, tree_hash

MAX_CHUNK = 128 * 1024
MAX_CHUNKS = 8 * 1024
MAX_CONTENT = 64 * 1024 * 1024
HEADER = 8
# What a chunk can cost beside its content: its header, and a stored form that its writer failed to make smaller.
MAX_STORED = MAX_CONTENT + MAX_CHUNKS * HEADER
MAX_UPLOAD = MAX_STORED + 1024 * 1024  # with a footer
_FOOTER = b"XETBLOB"
_ROW = struct.Struct(f"<{SIZE}sII")


class Scheme(IntEnum):
    """How a chunk is stored."""

    NONE = 0
    LZ4 = 1  # an LZ4 frame
    GROUPED_LZ4 = 2  # every first of four bytes, then every second and so on, as an LZ4 frame


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    scheme: Scheme
    stored: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunk:
    digest: bytes
    end: int  # where its stored form ends in the xorb
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each chunk of a xorb lies."""

    chunks: tuple[Chunk, ...]

    def __len__(self) -> int:
        return len(self.chunks)

    @property
    def stored(self) -> int:
        return self.chunks[-1].end if self.chunks else 0

    @property
    def length(self) -> int:
        return sum(chunk.length for chunk in self.chunks)

    @property
    def digest(self) -> bytes:
        return tree_hash((chunk.digest, chunk.length) for chunk in self.chunks)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The stored bytes of chunks `start` to `end - 1`, the end exclusive."""
        return (self.chunks[start - 1].end if start else 0), self.chunks[end - 1].end

    def candidates(self) -> Iterator[bytes]:
        """Chunks that clients may ask for: the marked ones, and the first, which a file may begin with."""
        for number, chunk in enumerate(self.chunks):
            if number == 0 or is_dedup_candidate(chunk.digest):
                yield chunk.digest

    def pack(self) -> bytes:
        return b"".join(_ROW.pack(chunk.digest, chunk.end, chunk.length) for chunk in self.chunks)

    @classmethod
    def unpack(cls, packed: bytes) -> Layout:
        return cls(tuple(Chunk(*row) for row in _ROW.iter_unpack(packed)))


def parse_header(header: bytes) -> ChunkHeader:
    """Raises: InvalidInputError."""
    version, stored = header[0], int.from_bytes(header[1:4], "little")
    scheme, length = header[4], int.from_bytes(header[5:8], "little")
    if version != 0:
        raise InvalidInputError(f"A chunk's header has the version {version}; only 0 is known.")
    if scheme not in set(Scheme):
        raise InvalidInputError(f"A chunk is compressed by the unknown scheme {scheme}.")
    if not 0 < length <= MAX_CHUNK:
        raise InvalidInputError(f"A chunk of {length} bytes is not between 1 and {MAX_CHUNK}.")
    if not 0 < stored <= 2 * MAX_CHUNK:
        raise InvalidInputError(f"A chunk's stored form of {stored} bytes is not between 1 and {2 * MAX_CHUNK}.")
    if scheme == Scheme.NONE and stored != length:
        raise InvalidInputError("A chunk that is not compressed announces two different lengths.")
    return ChunkHeader(Scheme(scheme), stored, length)


def decompress(header: ChunkHeader, stored: bytes | memoryview) -> bytes | memoryview:
    """The chunk's content, not copied if it is stored as it is. Never makes more than the header announces.

    Raises:
        InvalidInputError: it is not what the header announces.
    """
    match header.scheme:
        case Scheme.NONE:
            return stored
        case Scheme.LZ4:
            return _unlz4(stored, header.length)
        case Scheme.GROUPED_LZ4:
            return _ungroup(_unlz4(stored, header.length))


def _unlz4(stored: bytes | memoryview, length: int) -> bytes:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        data: bytes = decompressor.decompress(stored, max_length=length + 1)
    except RuntimeError as error:
        raise InvalidInputError("A chunk is not a valid LZ4 frame.") from error
    if len(data) != length or not decompressor.eof or decompressor.unused_data:
        raise InvalidInputError(f"A chunk does not decompress to the {length} bytes that its header announces.")
    return data


def _ungroup(grouped: bytes) -> bytes:
    quarter, rest = divmod(len(grouped), 4)
    data, start = bytearray(len(grouped)), 0
    for place in range(4):
        size = quarter + (place < rest)
        data[place::4] = grouped[start : start + size]
        start += size
    return bytes(data)


def chunk_header(length: int) -> bytes:
    """Stands before a chunk that is stored as it is."""
    size = length.to_bytes(3, "little")
    return b"\0" + size + b"\0" + size


class XorbReader:
    """Checks a xorb while it passes: give `read` the incoming bytes, it yields the stored chunks, whole and verified.

    for block in reader.read(body):
        store(block)
    reader.layout  # complete only when `read` has ended

    Raises, from `read`: InvalidInputError, before the consumer can take the end of the stream for success.
    """

    def __init__(self) -> None:
        self.layout = Layout(())
        self._chunks: list[Chunk] = []
        self._end = self._length = 0

    def read(self, body: Iterable[bytes]) -> Iterator[bytes]:
        pending = b""
        in_footer = False
        total = 0
        for block in body:
            total += len(block)
            if total > MAX_UPLOAD:
                raise InvalidInputError(f"A xorb takes at most {MAX_CONTENT} bytes; this one is larger.")
            if in_footer:
                continue
            pending += block
            taken, in_footer = self._take(memoryview(pending))
            if taken:
                yield pending[:taken]
                pending = pending[taken:]
        if pending and not in_footer:
            raise InvalidInputError("The xorb breaks off in the middle of a chunk.")
        if not self._chunks:
            raise InvalidInputError("The xorb holds no chunk.")
        self.layout = Layout(tuple(self._chunks))

    def _take(self, pending: memoryview) -> tuple[int, bool]:
        """Notes all whole chunks at the front. Returns where they end, and whether the footer begins there."""
        position = 0
        while len(pending) - position >= HEADER:
            head = bytes(pending[position : position + HEADER])
            if head.startswith(_FOOTER):
                return position, True
            header = parse_header(head)
            end = position + HEADER + header.stored
            if end > len(pending):
                break
            self._note(header, pending[position + HEADER : end])
            position = end
        return position, False

    def _note(self, header: ChunkHeader, stored: memoryview) -> None:
        data = decompress(header, stored)
        self._end += HEADER + header.stored
        self._length += header.length
        self._chunks.append(Chunk(chunk_hash(data), self._end, header.length))
        if len(self._chunks) > MAX_CHUNKS or self._length > MAX_CONTENT or self._end > MAX_STORED:
            raise InvalidInputError(f"A xorb holds at most {MAX_CHUNKS} chunks and {MAX_CONTENT} bytes.")


class Expected(Protocol):
    """What is to be known of a chunk to check it."""

    @property
    def digest(self) -> bytes: ...
    @property
    def length(self) -> int: ...


def read_chunks(stored: Iterable[bytes], expected: Iterable[Expected]) -> Iterator[bytes | memoryview]:
    """The contents of these chunks from their stored bytes, each checked against its hash.

    Raises:
        InvalidInputError: the stored bytes are damaged.
    """
    source, pending = iter(stored), memoryview(b"")
    for chunk in expected:
        pending = _filled(pending, source, HEADER)
        header = parse_header(bytes(pending[:HEADER]))
        end = HEADER + header.stored
        pending = _filled(pending, source, end)
        data = decompress(header, pending[HEADER:end])
        if len(data) != chunk.length or chunk_hash(data) != chunk.digest:
            raise InvalidInputError("A stored chunk is damaged.")
        yield data
        pending = pending[end:]


def _filled(pending: memoryview, source: Iterator[bytes], wanted: int) -> memoryview:
    while len(pending) < wanted:
        block = next(source, b"")
        if not block:
            raise InvalidInputError("A stored xorb breaks off.")
        pending = memoryview(b"".join((pending, block)))
    return pending
