"""`model-index` in any shape."""

from __future__ import annotations

import pytest

from steelyard_platform.repos.claims import MOST_CLAIMS, Claim, claims_of


def test_what_the_hub_writes_is_read():
    result = {
        "task": {"type": "image-classification", "name": "Image Classification"},
        "dataset": {"type": "mnist", "name": "MNIST", "split": "test"},
        "metrics": [{"type": "accuracy", "value": 0.98}, {"type": "f1", "name": "F1", "value": "97 %"}],
    }
    assert claims_of({"model-index": [{"name": "reader", "results": [result]}]}) == [
        Claim("accuracy", 0.98, "MNIST · test", "Image Classification"),
        Claim("F1", "97 %", "MNIST · test", "Image Classification"),
    ]


@pytest.mark.parametrize(
    "index",
    [
        None,
        "x",
        {"a": 1},
        [1, None, {"results": "x"}],
        [{"results": [{"metrics": {"a": 1}}, 3]}],
        [{"results": [{"metrics": [{"type": ["x"], "value": 1}, {"type": "a", "value": {"b": 1}}, {"value": 2}]}]}],
    ],
)
def test_what_is_something_else_is_passed_over(index):
    assert claims_of({"model-index": index}) == []


def test_there_is_an_end_to_it():
    metrics = [{"type": "a", "value": 1}] * 500
    assert len(claims_of({"model-index": [{"results": [{"metrics": metrics}]}]})) == MOST_CLAIMS
