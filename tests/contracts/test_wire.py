"""Faults of messages, as people read them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from steelyard_contracts.training import TrainSpec
from steelyard_contracts.wire import faults_in_words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch_size": 100_000}, "batch_size: Input should be less than or equal to 4096, or Input should be 'auto'"),
        ({"epochs": 0}, "epochs: Input should be greater than or equal to 1"),
        ({"nonsense": 1}, "nonsense: Extra inputs are not permitted"),
    ],
)
def test_a_field_that_may_be_several_things_is_named_once(fields, words):
    with pytest.raises(ValidationError) as caught:
        TrainSpec.model_validate({"dataset": "lab/digits", "output": "lab/reader", **fields})
    assert faults_in_words(caught.value) == words
