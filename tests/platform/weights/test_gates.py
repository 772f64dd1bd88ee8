"""Gates: rules as people write them, and what they say of a version."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import GateSyntaxError
from steelyard_platform.weights.gates import Measured, judge, parse_rule

DATA = "lab/digits"


def measured(accuracy=0.97, version="v1", runtime="torch-cpu", **more):
    return Measured({"accuracy": accuracy, **more}, DATA, version, runtime)


@pytest.mark.parametrize(
    ("rule", "evaluations", "passed", "sentence"),
    [
        (
            "accuracy >= 0.95 on lab/digits@v1",
            [measured()],
            True,
            "accuracy on lab/digits@v1 is 0.97; at least 0.95 is",
        ),
        ("accuracy >= 0.98 on lab/digits@v1", [measured()], False, "is 0.97; at least 0.98 is asked"),
        ("accuracy >= 0.97", [measured()], True, "accuracy is 0.97"),
        ("accuracy >= 0.95 on lab/digits@v2", [measured()], False, "was never measured; evaluate this version first"),
        ("accuracy >= 0.95 on lab/other", [measured()], False, "was never measured"),
        ("accuracy >= 0.95", [], False, "was never measured"),
        (
            "latency_ms_p50 <= 30 on onnxruntime-cpu",
            [measured(runtime="onnxruntime-cpu", latency_ms_p50=12)],
            True,
            "12",
        ),
        ("latency_ms_p50 <= 30 on onnxruntime-cpu", [measured(latency_ms_p50=12)], False, "was never measured"),
        ("accuracy >= 0.95", [measured(0.96), measured(0.90)], True, "0.96"),  # the newest counts
    ],
)
def test_thresholds(rule, evaluations, passed, sentence):
    verdict = judge(rule, evaluations, [])
    assert verdict.passed is passed
    assert sentence in verdict.sentence


def test_a_drop_is_measured_on_the_same_data():
    rule = "accuracy drop from parent <= 0.01"
    assert judge(rule, [measured(0.965)], [measured(0.97)]).passed
    refused = judge(rule, [measured(0.95)], [measured(0.97)])
    assert not refused.passed
    assert "went from 0.97 to 0.95 on lab/digits@v1; a loss of at most 0.01 is asked" in refused.sentence
    assert not judge(rule, [measured(0.97)], [measured(0.5, version="v2")]).passed


@pytest.mark.parametrize(
    "text", ["", "accuracy", "accuracy > 0.9", "accuracy >= high", "accuracy >= 0.9 on a/b/c", "1 >= 2"]
)
def test_a_rule_that_does_not_parse_is_refused_with_an_example(text):
    with pytest.raises(GateSyntaxError, match="Write, for example, 'accuracy >= 0.95 on team/dataset@v1'"):
        parse_rule(text)
