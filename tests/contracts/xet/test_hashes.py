"""Names of chunks, xorbs and files, against hashes that `hf_xet` itself computes in the end-to-end tests."""

from __future__ import annotations

import pytest

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


def test_order_and_lengths_count():
    nodes = [(hashes.chunk_hash(bytes([number])), 1) for number in range(40)]
    other = [(digest, 2) for digest, _ in nodes]
    assert len({hashes.tree_hash(nodes), hashes.tree_hash(nodes[::-1]), hashes.tree_hash(other)}) == 3
