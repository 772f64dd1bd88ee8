"""Shards: read and written alike; anything else is refused with a sentence."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.xet import shards
from steelyard_contracts.xet.hashes import keyed
from steelyard_contracts.xet.shards import FileRecord, Term
from tests.support.xet import layout_of, xorb_of

hashes = st.binary(min_size=32, max_size=32).filter(lambda digest: digest != b"\xff" * 32)
terms = st.builds(lambda xorb, start, size: Term(xorb, start, start + size, 1), hashes, st.integers(0, 50), st.just(1))


@st.composite
def files(draw):
    listed = tuple(draw(st.lists(terms, max_size=4)))
    proofs = tuple(draw(hashes) for _ in listed) if draw(st.booleans()) else ()
    return FileRecord(draw(hashes), listed, proofs, draw(hashes).hex() if draw(st.booleans()) else None)


@given(records=st.lists(files(), max_size=4))
def test_what_is_written_is_read(records):
    assert shards.parse(shards.serialize(records)).files == tuple(records)


def test_an_answer_shows_chunks_only_under_its_key():
    _, body = xorb_of(b"first", b"second")
    layout, key = layout_of(body), bytes(range(32))
    answer = shards.serialize_answer([(layout.digest, layout)], key=key, created=1, expires=2)
    [record] = shards.parse(answer).xorbs
    assert record.chunks == tuple((keyed(chunk.digest, key), chunk.length) for chunk in layout.chunks)
    assert not any(chunk.digest in answer for chunk in layout.chunks)


EMPTY = shards.serialize()
BAD = {
    "nothing": (b"", "shorter than its header"),
    "another tag": (b"x" * 48, "another tag"),
    "another version": (EMPTY[:32] + struct.pack("<Q", 9) + EMPTY[40:], "version 9"),
    "no bookend": (EMPTY[:-48], "breaks off"),
    "a count beyond the end": (EMPTY[:48] + b"\1" * 32 + struct.pack("<4I", 0, 2**32 - 1, 0, 0), "more records"),
    "a range that ends before it begins": (
        shards.serialize([FileRecord(b"\1" * 32, (Term(b"\2" * 32, 5, 5, 1),), (), None)]),
        "the chunks 5 to 5",
    ),
    "a range no xorb has": (
        shards.serialize([FileRecord(b"\1" * 32, (Term(b"\2" * 32, 5, 9000, 1),), (), None)]),
        "the chunks 5 to 9000",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_shard_is_refused(name):
    data, sentence = BAD[name]
    with pytest.raises(InvalidInputError, match=sentence):
        shards.parse(data)


@given(tail=st.binary(max_size=400), cut=st.integers(0, 200))
def test_noise_is_refused_or_read_and_never_anything_else(tail, cut):
    try:
        shards.parse(EMPTY[:cut] + tail)
    except InvalidInputError:
        return
