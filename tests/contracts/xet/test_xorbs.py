"""Xorbs: what is right passes, in whatever pieces it arrives; anything else is refused with a sentence."""

from __future__ import annotations

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.xet.xorbs import MAX_CHUNK, Layout, Scheme, XorbReader, read_chunks
from tests.support.xet import layout_of, stored_chunk, xorb_of


def read(body):
    reader = XorbReader()
    kept = b"".join(reader.read([body]))
    return kept, reader.layout


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 4099, MAX_CHUNK])
def test_each_scheme_gives_the_content_back(scheme, size):
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    _, body = xorb_of(data, b"second", scheme=scheme)
    layout = layout_of(body)
    assert b"".join(read_chunks([body], layout.chunks)) == data + b"second"


@given(chunks=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=9), step=st.integers(1, 400))
def test_pieces_do_not_matter(chunks, step):
    _, body = xorb_of(*chunks)
    reader = XorbReader()
    kept = b"".join(reader.read(body[at : at + step] for at in range(0, len(body), step)))
    assert (kept, reader.layout) == (body, layout_of(body))
    assert Layout.unpack(reader.layout.pack()) == reader.layout


def test_a_footer_is_not_kept():
    _, body = xorb_of(b"content")
    kept, layout = read(body + b"XETBLOB" + b"\1" + b"anything at all" * 10)
    assert (kept, layout) == (body, layout_of(body))


BAD = {
    "nothing": (b"", "holds no chunk"),
    "a header alone": (stored_chunk(b"x" * 10)[:8], "breaks off"),
    "a chunk that breaks off": (stored_chunk(b"x" * 10)[:-1], "breaks off"),
    "a version of the future": (b"\1" + stored_chunk(b"x")[1:], "version 1"),
    "an unknown scheme": (stored_chunk(b"x")[:4] + b"\7" + stored_chunk(b"x")[5:], "unknown scheme 7"),
    "an empty chunk": (b"\0" * 8, "0 bytes"),
    "a chunk of 16 MB": (b"\0\1\0\0\1\xff\xff\xff", "16777215 bytes is not between"),
    "two lengths": (b"\0\2\0\0\0\1\0\0xy", "two different lengths"),
    "no LZ4 frame": (b"\0\x0c\0\0\1\4\0\0oopsoopsoops", "not a valid LZ4 frame"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_xorb_is_refused(name):
    body, sentence = BAD[name]
    with pytest.raises(InvalidInputError, match=sentence):
        read(body)


def test_a_decompression_bomb_makes_no_more_than_it_announces():
    bomb = lz4.frame.compress(b"\0" * 50_000_000)[: 2 * MAX_CHUNK]
    head = len(bomb).to_bytes(3, "little") + bytes([Scheme.LZ4]) + (100).to_bytes(3, "little")
    with pytest.raises(InvalidInputError, match="does not decompress to the 100 bytes"):
        read(b"\0" + head + bomb)


def test_two_frames_in_one_chunk_are_refused():
    body = lz4.frame.compress(b"abc") + lz4.frame.compress(b"def")
    head = len(body).to_bytes(3, "little") + bytes([Scheme.LZ4]) + (3).to_bytes(3, "little")
    with pytest.raises(InvalidInputError, match="does not decompress"):
        read(b"\0" + head + body)


@given(noise=st.binary(max_size=400))
def test_noise_is_refused_or_read_and_never_anything_else(noise):
    try:
        kept, layout = read(noise)
    except InvalidInputError:
        return
    assert layout.stored == len(kept) <= len(noise)


@given(at=st.integers(0, 400), bit=st.integers(0, 7))
def test_one_flipped_bit_is_noticed(at, bit):
    name, body = xorb_of(b"first chunk" * 9, b"second chunk" * 9, scheme=Scheme.LZ4)
    damaged = bytearray(body)
    damaged[at % len(body)] ^= 1 << bit
    try:
        _, layout = read(bytes(damaged))
    except InvalidInputError:
        return
    # What still parses has another name, or the bit was one that LZ4 ignores and the content is what it was.
    assert layout.digest != layout_of(body).digest or b"".join(
        read_chunks([bytes(damaged)], layout.chunks)
    ) == b"".join(read_chunks([body], layout_of(body).chunks)), name


def test_stored_damage_is_never_passed_on():
    _, body = xorb_of(b"a" * 100, b"b" * 100)
    layout = layout_of(body)
    with pytest.raises(InvalidInputError, match="damaged"):
        list(read_chunks([body[:-1] + b"c"], layout.chunks))
