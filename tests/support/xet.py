"""What a client of the Xet protocol sends, made by hand: xorbs and shards for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import lz4.frame

from steelyard_contracts.xet import shards
from steelyard_contracts.xet.hashes import chunk_hash, file_hash, range_hash, to_text
from steelyard_contracts.xet.shards import FileRecord, Term
from steelyard_contracts.xet.xorbs import Layout, Scheme, XorbReader


def stored_chunk(data: bytes, scheme: Scheme = Scheme.NONE) -> bytes:
    """A chunk as it stands in a xorb."""
    match scheme:
        case Scheme.NONE:
            body = data
        case Scheme.LZ4:
            body = lz4.frame.compress(data)
        case Scheme.GROUPED_LZ4:
            body = lz4.frame.compress(b"".join(data[place::4] for place in range(4)))
    head = len(body).to_bytes(3, "little") + bytes([scheme]) + len(data).to_bytes(3, "little")
    return b"\0" + head + body


def xorb_of(*chunks: bytes, scheme: Scheme = Scheme.NONE) -> tuple[str, bytes]:
    """(hash, body)."""
    body = b"".join(stored_chunk(chunk, scheme) for chunk in chunks)
    return to_text(layout_of(body).digest), body


def layout_of(body: bytes) -> Layout:
    reader = XorbReader()
    for _ in reader.read([body]):
        pass
    return reader.layout


def file_of(parts: Sequence[tuple[bytes, int, int]], *, sha256: str | None = None) -> FileRecord:
    """The record of a file made of (xorb's body, first chunk, end) in order. Its SHA-256 is computed unless given."""
    terms, proofs, content = [], [], []
    digest = hashlib.sha256()
    for body, start, end in parts:
        layout = layout_of(body)
        chunks = layout.chunks[start:end]
        terms.append(Term(layout.digest, start, end, sum(chunk.length for chunk in chunks)))
        proofs.append(range_hash(chunk.digest for chunk in chunks))
        content += [(chunk.digest, chunk.length) for chunk in chunks]
        digest.update(_plain(body, layout, start, end))
    return FileRecord(file_hash(content), tuple(terms), tuple(proofs), sha256 or digest.hexdigest())


def _plain(body: bytes, layout: Layout, start: int, end: int) -> bytes:
    from steelyard_contracts.xet.xorbs import read_chunks

    first, last = layout.span(start, end)
    return b"".join(read_chunks([body[first:last]], layout.chunks[start:end]))


def shard_of(*files: FileRecord) -> bytes:
    return shards.serialize(files)


__all__ = ["chunk_hash", "file_of", "layout_of", "shard_of", "stored_chunk", "xorb_of"]
