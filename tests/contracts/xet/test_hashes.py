"""Names of chunks, xorbs and files, against hashes that `hf_xet` itself computes in the end-to-end tests."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.xet import hashes


def test_text_and_bytes_are_each_others_inverse():
    digest = bytes(range(32))
    assert hashes.to_text(digest) == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    assert hashes.from_text(hashes.to_text(digest)) == digest


@pytest.mark.parametrize("text", ["", "0" * 63, "G" * 64, "0" * 65, "A" * 64])
def test_what_is_no_hash_is_refused(text):
    with pytest.raises(InvalidInputError, match="64 lowercase hexadecimal"):
        hashes.from_text(text)


def test_one_chunk_names_its_xorb():
    chunk = hashes.chunk_hash(b"one chunk")
    assert hashes.tree_hash([(chunk, 9)]) == chunk
    assert hashes.file_hash([(chunk, 9)]) != chunk


def test_nothing_is_named_by_zeros():
    assert hashes.tree_hash([]) == hashes.file_hash([]) == bytes(32)


@given(lengths=st.lists(st.integers(1, 99), max_size=200))
def test_a_tree_is_the_same_from_a_stream_as_level_by_level(lengths):
    """The definition, written out: cut the whole level, merge, and again."""
    nodes = [(hashes.chunk_hash(str(place).encode()), length) for place, length in enumerate(lengths)]
    level = nodes
    while len(level) > 1:
        above, start = [], 0
        while start < len(level):
            end = min(start + 9, len(level))
            for place in range(start + 2, end):
                if int.from_bytes(level[place][0][24:], "little") % 4 == 0:
                    end = place + 1
                    break
            text = "".join(f"{hashes.to_text(digest)} : {length}\n" for digest, length in level[start:end])
            above.append((blake3(text.encode(), key=hashes._NODE_KEY).digest(), sum(n for _, n in level[start:end])))
            start = end
        level = above
    assert hashes.tree_hash(iter(nodes)) == (level[0][0] if level else bytes(32))


def test_order_and_lengths_count():
    nodes = [(hashes.chunk_hash(bytes([number])), 1) for number in range(40)]
    other = [(digest, 2) for digest, _ in nodes]
    assert len({hashes.tree_hash(nodes), hashes.tree_hash(nodes[::-1]), hashes.tree_hash(other)}) == 3
