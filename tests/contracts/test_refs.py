"""References as people write them."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import InvalidNameError, InvalidReferenceError
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team/model", Ref(RepositoryKind.MODEL, "team", "model", None)),
        ("team/model@v3", Ref(RepositoryKind.MODEL, "team", "model", "v3")),
        ("models:/team/model@production", Ref(RepositoryKind.MODEL, "team", "model", "production")),
        ("datasets:/team/digits@feature/x", Ref(RepositoryKind.DATASET, "team", "digits", "feature/x")),
        (f"team/model@{'a' * 40}", Ref(RepositoryKind.MODEL, "team", "model", "a" * 40)),
    ],
)
def test_references_parse(text, expected):
    assert parse_ref(text) == expected


@pytest.mark.parametrize("text", ["", "team", "team/", "a/b/c", "team/model@"])
def test_other_texts_are_refused_with_an_example(text):
    with pytest.raises(InvalidReferenceError, match="write namespace/name or namespace/name@revision"):
        parse_ref(text)


def test_a_reserved_namespace_is_refused():
    with pytest.raises(InvalidNameError):
        parse_ref("api/model")


def test_a_reference_prints_as_it_parses():
    for text in ("team/model@v3", "datasets:/team/digits"):
        assert str(parse_ref(text)) == text
