"""The filter language: what is understood, and what is refused with a sentence."""

from __future__ import annotations

import re

import pytest

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.mlflow.filters import (
    EXPERIMENTS,
    LOGGED_MODELS,
    RUNS,
    VERSIONS,
    Condition,
    as_pattern,
    parse_filter,
    parse_order,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.acc > 0.9", Condition("metric", "acc", ">", 0.9)),
        ("metric.`val acc` <= -1e-3", Condition("metric", "val acc", "<=", -0.001)),
        ('params."lr" = "0.1"', Condition("param", "lr", "=", "0.1")),
        ("tags.mlflow.user != 'ada'", Condition("tag", "mlflow.user", "!=", "ada")),
        ("tag.key ILIKE '%alu%'", Condition("tag", "key", "ILIKE", "%alu%")),
        ("attributes.status = 'FINISHED'", Condition("attribute", "status", "=", "FINISHED")),
        ("run_name LIKE 'a%'", Condition("attribute", "run_name", "LIKE", "a%")),
        ("start_time>=1700000000000", Condition("attribute", "start_time", ">=", 1.7e12)),
        ("run_id not in ('a', \"b\")", Condition("attribute", "run_id", "NOT IN", ("a", "b"))),
        ("params.lr is null", Condition("param", "lr", "IS NULL", None)),
        ("params.note = 'it''s AND so'", Condition("param", "note", "=", "it's AND so")),
        ("dataset.name = 'd'", Condition("dataset", "name", "=", "d")),
    ],
)
def test_a_condition_is_a_field_an_operator_and_a_value(text, expected):
    assert parse_filter(text, RUNS) == [expected]


def test_conditions_are_joined_by_and():
    found = parse_filter("metrics.a > 1 and params.b = 'x' AND tags.c LIKE 'y%'", RUNS)
    assert [one.key for one in found] == ["a", "b", "c"]
    assert parse_filter("", RUNS) == parse_filter(None, RUNS) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics.acc > 'high'", "'acc' is a number"),
        ("metrics.acc LIKE 1", "'acc' is a number"),
        ("params.lr > '0.1'", "Invalid comparison of 'lr'"),
        ("params.lr = 0.1", "Invalid comparison of 'lr'"),
        ("colour = 'red'", "Invalid attribute key 'colour'"),
        ("prams.lr = '1'", "Invalid entity type 'prams'"),
        ("metrics.acc > 1 OR metrics.acc < 0", "joined by AND alone"),
        ("metrics.acc > 1 AND", "joined by AND alone"),
        ("metrics.acc", "an operator"),
        ("params.lr = x", "a value in quotes was expected"),
        ("run_id IN 'a'", "a list of quoted values"),
        ("= 1", "a field was expected"),
        ("start_time > 'noon'", "'start_time' is a number"),
    ],
)
def test_what_is_not_understood_is_said(text, said):
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        parse_filter(text, RUNS)


def test_each_kind_of_thing_has_fields_of_its_own():
    assert parse_filter("version_number = 2", VERSIONS)[0].value == 2.0
    assert parse_filter("last_update_time > 1", EXPERIMENTS)[0].key == "updated"
    assert parse_filter("metrics.f1 > 0.5 AND model_type = 'x'", LOGGED_MODELS)[1].key == "model_type"
    with pytest.raises(InvalidInputError, match="Invalid entity type 'metrics'"):
        parse_filter("metrics.f1 > 0.5", EXPERIMENTS)


def test_an_order_is_a_field_and_a_direction():
    assert parse_order("metrics.`val acc` DESC", RUNS).descending
    assert not parse_order("attributes.start_time", RUNS).descending
    for wrong in ("metrics.acc DOWN", "", "metrics.acc DESC, b"):
        with pytest.raises(InvalidInputError):
            parse_order(wrong, RUNS)


def test_a_pattern_takes_only_its_two_signs_for_more_than_letters():
    assert re.fullmatch(as_pattern("a%c_e"), "abbbcde")
    assert not re.fullmatch(as_pattern("a.c"), "abc")
