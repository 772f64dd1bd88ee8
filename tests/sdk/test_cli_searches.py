"""What the command line makes of `--vary` and `--set`."""

from __future__ import annotations

import pytest

from steelyard.cli_searches import _nested
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.search_words import parse_parameter
from steelyard_contracts.searches import SearchSpec


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("epochs=5..20", "int", {"low": 5, "high": 20, "log": False, "step": 1}),
        ("epochs=5..20:step=5", "int", {"low": 5, "high": 20, "step": 5}),
        ("learning_rate=1e-4..1e-1:log", "float", {"low": 1e-4, "high": 0.1, "log": True, "step": None}),
        ("weight_decay=0..0.3:step=0.1", "float", {"low": 0, "high": 0.3, "step": 0.1}),
        ("batch_size=16,32, 64", "choices", {"choices": [16, 32, 64]}),
        ("augment=true,false", "choices", {"choices": [True, False]}),
        ("freeze=none,backbone", "choices", {"choices": ["none", "backbone"]}),
        ("architecture.depths=[[1, 1, 1], [2, 2, 2]]", "choices", {"choices": [[1, 1, 1], [2, 2, 2]]}),
    ],
)
def test_what_may_vary_is_written_as_people_would(text, kind, fields):
    name, parameter = parse_parameter(text)
    train = {"dataset": "lab/digits", "output": "lab/reader", "base": "lab/reader@v1"}
    made = SearchSpec.model_validate({"train": train, "space": {name: parameter}}).space[name].model_dump()
    assert made["kind"] == kind
    assert {field: made[field] for field in fields} == fields


def test_fields_of_all_trials_may_lie_inside_others():
    assert _nested(("epochs=3", "architecture.embedding_size=8", "freeze=none")) == {
        "epochs": 3,
        "architecture": {"embedding_size": 8},
        "freeze": "none",
    }


@pytest.mark.parametrize("text", ["epochs", "=3", "epochs="])
def test_what_is_no_assignment_is_said(text):
    with pytest.raises(InvalidInputError, match="no NAME=VALUE"):
        parse_parameter(text)
