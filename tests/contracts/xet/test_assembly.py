"""From chunks to xorbs and a record: everything is there, nothing twice, and the file comes out again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from steelyard_contracts.xet.assembly import XORB_BYTES, Piece, Place, assemble
from steelyard_contracts.xet.hashes import chunk_hash, file_hash
from steelyard_contracts.xet.xorbs import MAX_CHUNK, MAX_CHUNKS, chunk_header
from tests.support.xet import layout_of, xorb_of


def pieces_of(chunks):
    found, position = [], 0
    for data in chunks:
        found.append(Piece(chunk_hash(data), position, position + len(data)))
        position += len(data)
    return found


@given(chunks=st.lists(st.sampled_from([b"a", b"bb", b"ccc", b"dddd"]), max_size=12), stored=st.sets(st.integers(0, 2)))
def test_the_record_gives_the_file_back_and_only_unknown_chunks_are_sent(chunks, stored):
    before = [b"a", b"bb", b"ccc"]
    _, body = xorb_of(*before)
    held = layout_of(body)
    known = {chunk_hash(before[index]): Place(held.digest, index) for index in stored}
    assembly = assemble(pieces_of(chunks), known)
    whole = b"".join(chunks)
    contents = {held.digest: before}
    for xorb in assembly.xorbs:
        inside = [whole[piece.start : piece.end] for piece in xorb.pieces]
        body = b"".join(chunk_header(len(data)) + data for data in inside)
        assert layout_of(body) == xorb.layout
        assert xorb.digest == xorb.layout.digest
        contents[xorb.digest] = inside
    record = assembly.record
    assert b"".join(b"".join(contents[t.xorb][t.start : t.end]) for t in record.terms) == whole
    assert len(record.proofs) == len(record.terms)
    assert record.digest == file_hash((chunk_hash(data), len(data)) for data in chunks)
    sent = [piece.digest for xorb in assembly.xorbs for piece in xorb.pieces]
    assert sorted(sent) == sorted({chunk_hash(data) for data in chunks} - known.keys())


def test_neighbours_are_one_term():
    assert len(assemble(pieces_of([b"a", b"bb", b"ccc"]), {}).record.terms) == 1


def test_xorbs_keep_to_their_limits():
    large = [Piece(number.to_bytes(32, "big"), number * MAX_CHUNK, (number + 1) * MAX_CHUNK) for number in range(600)]
    tiny = [Piece(number.to_bytes(32, "big"), number, number + 1) for number in range(MAX_CHUNKS + 5)]
    for pieces in (large, tiny):
        xorbs = assemble(pieces, {}).xorbs
        assert sum(len(xorb.pieces) for xorb in xorbs) == len(pieces)
        assert all(xorb.layout.length <= XORB_BYTES and len(xorb.layout) <= MAX_CHUNKS for xorb in xorbs)
        assert len(xorbs) > 1
