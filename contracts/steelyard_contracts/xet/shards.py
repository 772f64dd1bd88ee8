"""A shard: which chunks of which xorbs make a file, and which chunks a xorb holds.

    header     tag (32) · version 2 (8) · size of the footer (8)
    files      for each: header, terms, perhaps proofs, perhaps the file's SHA-256; a bookend
    xorbs      for each: header, chunks; a bookend
    footer     in shards that are sent to clients

Every record has 48 bytes: a hash and 16 bytes more. An incoming footer repeats what can be read in passing and is
ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.xet.hashes import SIZE, keyed, to_text
from steelyard_contracts.xet.xorbs import MAX_CHUNKS, Layout

MAX_SHARD = 64 * 1024 * 1024
_TAG = b"HFRepoMetaData\0" + bytes([85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169])
_VERSION = 2
_HEADER = struct.Struct("<32sQQ")
_RECORD = struct.Struct("<32sIIII")
_FOOTER = struct.Struct("<9Q32s2Q6Q4Q")
_FOOTER_VERSION = 1
_KEY = 9  # the key's place in it
_BOOKEND = b"\xff" * SIZE
_WITH_PROOFS = 1 << 31
_WITH_SHA256 = 1 << 30
_CANDIDATE = 1 << 31


@dataclass(frozen=True, slots=True)
class Term:
    """Chunks `start` to `end - 1` of a xorb, `length` bytes in all."""

    xorb: bytes
    start: int
    end: int
    length: int


@dataclass(frozen=True, slots=True)
class FileRecord:
    digest: bytes
    terms: tuple[Term, ...]
    proofs: tuple[bytes, ...]  # one range hash for each term; empty when the sender gave none
    sha256: str | None

    @property
    def size(self) -> int:
        return sum(term.length for term in self.terms)


@dataclass(frozen=True, slots=True)
class XorbRecord:
    digest: bytes
    chunks: tuple[tuple[bytes, int], ...]  # (hash, length)
    candidates: tuple[bytes, ...]  # those that the sender wants found by others


@dataclass(frozen=True, slots=True)
class Shard:
    files: tuple[FileRecord, ...]
    xorbs: tuple[XorbRecord, ...]


class _Records:
    """Reads one record after the other. Raises: InvalidInputError when there is none left."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def next(self) -> tuple[bytes, int, int, int, int]:
        end = self._position + _RECORD.size
        if end > len(self._data):
            raise InvalidInputError("The shard breaks off in the middle.")
        record = _RECORD.unpack_from(self._data, self._position)
        self._position = end
        return record

    def demand(self, count: int) -> None:
        """A count that cannot be true is refused before anything is read by it."""
        if count * _RECORD.size > len(self._data) - self._position:
            raise InvalidInputError("The shard announces more records than it has.")


def parse(data: bytes) -> Shard:
    """Raises: InvalidInputError."""
    if len(data) < _HEADER.size:
        raise InvalidInputError("The shard is shorter than its header.")
    tag, version, _ = _HEADER.unpack_from(data)
    if tag != _TAG:
        raise InvalidInputError("This is not a shard: it begins with another tag.")
    if version != _VERSION:
        raise InvalidInputError(f"The shard has the version {version}; only {_VERSION} is known.")
    records = _Records(data, _HEADER.size)
    files: list[FileRecord] = []
    while (head := records.next())[0] != _BOOKEND:
        files.append(_file(records, head))
    xorbs: list[XorbRecord] = []
    while (head := records.next())[0] != _BOOKEND:
        xorbs.append(_xorb(records, head))
    return Shard(tuple(files), tuple(xorbs))


def _file(records: _Records, head: tuple[bytes, int, int, int, int]) -> FileRecord:
    digest, flags, count, _, _ = head
    records.demand(count * (2 if flags & _WITH_PROOFS else 1))
    terms = tuple(_term(*records.next()) for _ in range(count))
    proofs = tuple(records.next()[0] for _ in range(count)) if flags & _WITH_PROOFS else ()
    sha256 = to_text(records.next()[0]) if flags & _WITH_SHA256 else None
    return FileRecord(digest, terms, proofs, sha256)


def _term(xorb: bytes, _flags: int, length: int, start: int, end: int) -> Term:
    if not start < end <= MAX_CHUNKS:
        raise InvalidInputError(f"A term names the chunks {start} to {end}; a xorb has no such range.")
    return Term(xorb, start, end, length)


def _xorb(records: _Records, head: tuple[bytes, int, int, int, int]) -> XorbRecord:
    digest, _, count, _, _ = head
    records.demand(count)
    rows = [records.next() for _ in range(count)]
    chunks = tuple((chunk, length) for chunk, _, length, _, _ in rows)
    return XorbRecord(digest, chunks, tuple(chunk for chunk, _, _, flags, _ in rows if flags & _CANDIDATE))


def serialize(
    files: Iterable[FileRecord] = (),
    xorbs: Iterable[tuple[bytes, Layout]] = (),
    candidates: Collection[bytes] = frozenset(),
) -> bytes:
    """A shard to upload: no footer. `candidates`: chunks of the xorbs that the server is to find them by."""
    return b"".join([_HEADER.pack(_TAG, _VERSION, 0), *_file_records(files), *_xorb_records(xorbs, None, candidates)])


def _file_records(files: Iterable[FileRecord]) -> Iterable[bytes]:
    for file in files:
        flags = (_WITH_PROOFS if file.proofs else 0) | (_WITH_SHA256 if file.sha256 else 0)
        yield _RECORD.pack(file.digest, flags, len(file.terms), 0, 0)
        for term in file.terms:
            yield _RECORD.pack(term.xorb, 0, term.length, term.start, term.end)
        for proof in file.proofs:
            yield _RECORD.pack(proof, 0, 0, 0, 0)
        if file.sha256:
            words = (int(file.sha256[start : start + 16], 16) for start in range(0, 64, 16))
            yield struct.pack("<4Q16x", *words)
    yield _RECORD.pack(_BOOKEND, 0, 0, 0, 0)


def _xorb_records(
    xorbs: Iterable[tuple[bytes, Layout]], key: bytes | None, candidates: Collection[bytes] = frozenset()
) -> Iterable[bytes]:
    for digest, layout in xorbs:
        yield _RECORD.pack(digest, 0, len(layout), layout.length, layout.stored)
        position = 0
        for chunk in layout.chunks:
            shown = keyed(chunk.digest, key) if key else chunk.digest
            flags = _CANDIDATE if chunk.digest in candidates else 0
            yield _RECORD.pack(shown, position, chunk.length, flags, 0)
            position += chunk.length
    yield _RECORD.pack(_BOOKEND, 0, 0, 0, 0)


def parse_answer(data: bytes) -> tuple[bytes, tuple[XorbRecord, ...]]:
    """The answer to a deduplication query: the key, and xorbs whose chunks are shown under it.

    Raises: InvalidInputError.
    """
    if len(data) < _HEADER.size + _FOOTER.size:
        raise InvalidInputError("The answer is shorter than its header and footer.")
    key = _FOOTER.unpack(data[-_FOOTER.size :])[_KEY]
    return key, parse(data).xorbs


def serialize_answer(xorbs: Iterable[tuple[bytes, Layout]], *, key: bytes, created: int, expires: int) -> bytes:
    """The answer to a deduplication query: xorbs whose chunks are shown under `key`, valid until `expires` (Unix time).

    The key stands in the footer: whoever has a chunk can tell that it is there, and learns no other.
    """
    listed = list(xorbs)
    files, content = b"".join(_file_records(())), b"".join(_xorb_records(listed, key))
    xorbs_at = _HEADER.size + len(files)
    end = xorbs_at + len(content)
    stored, length = sum(layout.stored for _, layout in listed), sum(layout.length for _, layout in listed)
    lookups = (end, 0, end, 0, end, 0)  # none: clients build their own
    footer = _FOOTER.pack(
        _FOOTER_VERSION, _HEADER.size, xorbs_at, *lookups, key, created, expires, *[0] * 6, stored, length, stored, end
    )
    return _HEADER.pack(_TAG, _VERSION, len(footer)) + files + content + footer
