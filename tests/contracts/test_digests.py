"""Digests: recomputable by anybody, and streams that are checked as they pass."""

from __future__ import annotations

import subprocess

import pytest

from steelyard_contracts.digests import canonical_json, checked, git_blob_id, record_id, sha256_of
from steelyard_contracts.errors import DigestMismatchError

DATA = b"weights"


def test_git_blob_ids_are_gits(tmp_path):
    (tmp_path / "file").write_bytes(DATA)
    found = subprocess.run(["git", "hash-object", tmp_path / "file"], capture_output=True, text=True, check=True)
    assert git_blob_id(DATA) == found.stdout.strip()


def test_a_record_has_one_id_whatever_its_order():
    assert record_id({"a": 1, "b": [2]}) == record_id({"b": [2], "a": 1})
    assert len(record_id({})) == 40
    assert canonical_json({"é": 1}) == '{"é":1}'.encode()


def test_the_right_bytes_pass():
    assert b"".join(checked([b"wei", b"ghts"], sha256=sha256_of(DATA), size=7, what="It")) == DATA


@pytest.mark.parametrize(
    ("chunks", "sentence"),
    [
        ([b"wei"], "It ended after 3 of 7 bytes; send it again."),
        ([b"weights", b"!"], "It is longer than the 7 bytes that were announced."),
        ([b"weighty"], "not"),
    ],
)
def test_other_bytes_do_not(chunks, sentence):
    with pytest.raises(DigestMismatchError) as caught:
        list(checked(chunks, sha256=sha256_of(DATA), size=7, what="It"))
    assert sentence in str(caught.value)
