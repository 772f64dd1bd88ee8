"""How far tensors have moved, measured from two streams of bytes."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import DigestMismatchError
from steelyard_contracts.jobs import CompareSpec
from steelyard_contracts.weights import TensorPair, TensorPlace
from steelyard_workers.comparison.job import compare
from steelyard_workers.comparison.measures import Distance

GENERATOR = np.random.default_rng(0)


def measured(left, right, dtype="F32", step=1000):
    distance = Distance(dtype)
    one, other = left.tobytes(), right.tobytes()
    size = step * left.itemsize
    for start in range(0, len(one), size):
        distance.add(one[start : start + size], other[start : start + size])
    return distance.measures()


def test_the_four_measures():
    left = GENERATOR.normal(0, 1, 10_000).astype(np.float32)
    right = left.copy()
    right[:500] += 0.5
    found = measured(left, right)
    apart = right.astype(np.float64) - left
    assert found.relative_l2 == pytest.approx(np.linalg.norm(apart) / np.linalg.norm(left.astype(np.float64)))
    together = np.dot(left.astype(np.float64), right.astype(np.float64))
    norms = np.linalg.norm(left.astype(np.float64)) * np.linalg.norm(right.astype(np.float64))
    assert found.cosine_similarity == pytest.approx(together / norms)
    assert found.max_abs_change == pytest.approx(0.5, abs=1e-6)
    assert found.changed_share == 0.05


def test_what_has_no_number_is_none():
    zeros, ones = np.zeros(4, np.float32), np.ones(4, np.float32)
    found = measured(zeros, ones)
    assert (found.relative_l2, found.cosine_similarity, found.max_abs_change, found.changed_share) == (None, None, 1, 1)


def test_a_nan_that_stays_has_not_changed_and_spoils_nothing():
    left, right = np.array([np.nan, 1, 2], np.float32), np.array([np.nan, 1, 4], np.float32)
    found = measured(left, right)
    assert found.changed_share == pytest.approx(1 / 3)
    assert found.max_abs_change == 2


def test_integers_and_halves():
    assert measured(np.array([1, 2], np.int64), np.array([1, 5], np.int64), "I64").max_abs_change == 3
    assert measured(np.array([1, 2], np.float16), np.array([1, 5], np.float16), "F16").max_abs_change == 3


class Session:
    """Two files, of which ranges are read and counted."""

    def __init__(self, files, pairs):
        self.files, self.pairs = files, pairs
        self.read, self.changes, self.lines = [], [], []

    def changed_tensors(self):
        return self.pairs

    def pinned(self, text, kind):
        return text

    @contextmanager
    def range_of(self, ref, path, start, end):
        self.read.append((ref, start, end))
        data = self.files[ref][start:end]
        yield iter([data[:7], data[7:]])

    def repeat(self, attempt):
        return attempt()

    def report_changes(self, changes):
        self.changes += changes

    def progress(self, share, message):
        assert 0 <= share <= 1

    def log(self, text):
        self.lines.append(text)


def session_of(files, pairs):
    return Session(files, pairs)


def pair(name, left, right, start, size, dtype="F32"):
    def place(data):
        return TensorPlace(path="w", start=start, size=size, digest=sha256_of(data[start : start + size]))

    return TensorPair(name=name, dtype=dtype, left=place(left), right=place(right))


def test_only_what_differs_is_read_and_neighbours_together():
    left = np.arange(1000, dtype=np.float32).tobytes()
    right = (np.arange(1000, dtype=np.float32) + 1).tobytes()
    pairs = [pair("a", left, right, 0, 400), pair("b", left, right, 400, 400), pair("c", left, right, 2000, 40)]
    session = session_of({"l@v1": left, "l@v2": right}, pairs)
    result = compare(session, CompareSpec(left="l@v1", right="l@v2"))
    assert result == {"tensors": 3, "bytes_read": 2 * 840}
    assert session.read == [("l@v1", 0, 800), ("l@v2", 0, 800), ("l@v1", 2000, 2040), ("l@v2", 2000, 2040)]
    assert [change.max_abs_change for change in session.changes] == [1, 1, 1]
    assert [change.left for change in session.changes] == [one.left.digest for one in pairs]


def test_bytes_that_are_not_those_that_were_inspected_are_not_measured():
    left, right = bytes(400), bytes([1]) * 400
    session = session_of({"l@v1": left, "l@v2": right}, [pair("a", left, right, 0, 400)])
    session.files["l@v2"] = bytes([2]) * 400
    with pytest.raises(DigestMismatchError, match="are not those that were inspected"):
        compare(session, CompareSpec(left="l@v1", right="l@v2"))
    assert session.changes == []


def test_kinds_that_no_computer_counts_with_are_told_without_numbers():
    left, right = bytes(400), bytes([1]) * 400
    session = session_of({}, [pair("a", left, right, 0, 400, "Q4_K")])
    compare(session, CompareSpec(left="l@v1", right="l@v2"))
    assert (session.read, session.changes[0].relative_l2) == ([], None)
