"""What people write into the search box, without a server."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.weights.search_syntax import Bound, Sort, parse_bound, parse_search


def test_words_and_conditions_are_told_apart():
    search = parse_search("ResNet-18 tag:Vision size < 1.5GB accuracy>=0.9 note:this")
    assert search.words == ("18", "resnet", "note", "this")
    assert search.tags == (("Vision", "vision"),)
    assert search.sizes == (Bound("size", "<", 1.5e9),)
    assert search.measures == (Bound("accuracy", ">=", 0.9),)


def test_the_same_can_be_said_apart():
    together = parse_search("cats license:MIT size<=500MB accuracy>0.5")
    apart = parse_search("cats", tags=[("license", "MIT"), ("task", "")], bounds=["size<=500MB", "accuracy > 0.5", ""])
    assert together == apart
    assert together.tags == (("license:MIT", "license:mit"),)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("size<1GiB", Bound("size", "<", 2**30)),
        ("Size>=2kb", Bound("size", ">=", 2000)),
        ("bytes<=10", Bound("bytes", "<=", 10)),
        ("loss<1e-3", Bound("loss", "<", 0.001)),
        ("validation/loss>-1", Bound("validation/loss", ">", -1)),
    ],
)
def test_bounds(text, bound):
    assert parse_bound(text) == bound


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size<lots", "is no condition; write, for example, accuracy>0.9 or size<500MB"),
        ("size<5m", "does not end in a size such as 500MB"),
        ("accuracy>90GB", "does not end in a plain number"),
        ("accuracy>", "is no condition"),
        ("accuracy>nan", "is no condition"),
        ("x" * 501, "501 characters long; at most 500"),
        ("a b c d e f g h i j k l m n o p q r s t u", "more than 20 words and conditions"),
    ],
)
def test_what_is_not_understood_is_said(text, said):
    with pytest.raises(InvalidInputError) as refused:
        parse_search(text)
    assert said in str(refused.value)


def test_sorting_by_a_measure_needs_one():
    with pytest.raises(InvalidInputError) as refused:
        parse_search("cats", sort=Sort.METRIC)
    assert "such as accuracy>0" in str(refused.value)
