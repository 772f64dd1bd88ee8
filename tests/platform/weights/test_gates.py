"""Gates: rules as people write them, and what they say of a version."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import GateSyntaxError
from steelyard_platform.weights.gates import GateFacts, Measured, Scan, judge, parse_rule

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
    verdict = judge(rule, GateFacts(measures=evaluations))
    assert verdict.passed is passed
    assert sentence in verdict.sentence


@pytest.mark.parametrize(
    ("rule", "passed", "sentence"),
    [
        ("accuracy lower >= 0.94", True, "the lower end of accuracy is 0.95; at least 0.94 is asked"),
        ("accuracy lower >= 0.96 on lab/digits@v1", False, "on lab/digits@v1 is 0.95; at least 0.96 is asked"),
        ("ece upper <= 0.05", True, "the upper end of ece is 0.04; at most 0.05 is asked"),
        ("f1_macro lower >= 0.1", False, "f1_macro was measured without an interval"),
        ("top5 lower >= 0.1", False, "top5 was never measured"),
        ("f1[traffic light] >= 0.7", True, "f1[traffic light] is 0.8; at least 0.7 is asked"),
        ("f1[cat] >= 0.7", False, "f1[cat] was never measured"),
    ],
)
def test_the_worse_end_of_an_interval_and_single_classes(rule, passed, sentence):
    figures = {"accuracy": 0.97, "ece": 0.03, "f1_macro": 0.9, "f1[traffic light]": 0.8}
    ends = {"accuracy": (0.95, 0.98), "ece": (0.02, 0.04)}
    verdict = judge(rule, GateFacts(measures=[Measured(figures, DATA, "v1", "torch-cpu", intervals=ends)]))
    assert verdict.passed is passed
    assert sentence in verdict.sentence


def test_a_drop_is_measured_on_the_same_data():
    def drop(own, parent, version="v1"):
        facts = GateFacts(measures=[measured(own)], parent_measures=[measured(parent, version)])
        return judge("accuracy drop from parent <= 0.01", facts)

    assert drop(0.965, 0.97).passed
    refused = drop(0.95, 0.97)
    assert not refused.passed
    assert "went from 0.97 to 0.95 on lab/digits@v1; a loss of at most 0.01 is asked" in refused.sentence
    assert not drop(0.97, 0.5, version="v2").passed


@pytest.mark.parametrize(
    ("name", "passed"), [("v1", True), ("gold", True), ("main", True), ("v2", False), ("silver", False)]
)
def test_a_rule_may_call_the_dataset_version_by_any_name_that_stands_on_it(name, passed):
    one = Measured({"accuracy": 0.97}, DATA, "v1", "torch-cpu", frozenset({"gold", "main"}))
    assert judge(f"accuracy >= 0.95 on datasets:/{DATA}@{name}", GateFacts(measures=[one])).passed is passed


@pytest.mark.parametrize(("size", "passed"), [(11_999_999, True), (12_000_000, True), (12_100_000, False), (0, True)])
def test_the_size_of_all_files(size, passed):
    verdict = judge("size_mb <= 12", GateFacts(size=size))
    assert verdict.passed is passed
    assert verdict.sentence == f"it weighs {size / 1e6:.4g} MB; at most 12 is asked"


@pytest.mark.parametrize(
    ("rule", "approvers", "passed", "sentence"),
    [
        ("approved by 1 maintainer", [], False, "no maintainer has approved it; 1 approval is asked"),
        ("approved by 1 maintainer", ["ada"], True, "approved by ada; 1 approval is asked"),
        ("approved by 2 maintainers", ["ada"], False, "approved by ada; 2 approvals are asked"),
        ("approved  by 2 maintainers", ["ada", "bob"], True, "approved by ada, bob; 2 approvals are asked"),
    ],
)
def test_approvals_are_counted(rule, approvers, passed, sentence):
    verdict = judge(rule, GateFacts(approved_by=approvers))
    assert (verdict.passed, verdict.measured, verdict.sentence) == (passed, len(approvers), sentence)


@pytest.mark.parametrize(
    ("scan", "passed", "sentence"),
    [
        (Scan(unread=0), True, "nothing was found in its files; no finding is asked"),
        (Scan(unread=1), False, "1 file was not scanned yet; ask again when that is done"),
        (Scan(unread=2), False, "2 files were not scanned yet; ask again when that is done"),
        (Scan(0, ["m.pt: It runs os.system."]), False, "1 finding: m.pt: It runs os.system; none is asked"),
        (Scan(3, ["m.pt: It runs.", "n: Odd."]), False, "2 findings, the first of them: m.pt: It runs; none is asked"),
    ],
)
def test_scans(scan, passed, sentence):
    verdict = judge("no scan  findings", GateFacts(scan=scan))
    assert (verdict.passed, verdict.sentence) == (passed, sentence)


def test_what_nobody_said_anything_about_passes_nothing():
    for rule in ("signed", "no scan findings", "approved by 1 maintainer", "accuracy >= 0", "accuracy <= 1"):
        assert not judge(rule, GateFacts()).passed
    assert judge("signed", GateFacts(is_signed=True)).passed


def test_a_measure_that_is_no_number_passes_nothing():
    facts = GateFacts(measures=[measured(float("nan"))], parent_measures=[measured(0.9)])
    for rule in ("accuracy >= 0.1", "accuracy <= 0.1", "accuracy drop from parent <= 1"):
        assert not judge(rule, facts).passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "accuracy",
        "accuracy > 0.9",
        "accuracy >= high",
        "accuracy >= 0.9 on a/b/c",
        "1 >= 2",
        "accuracy >= 0.9.1",
        "size_mb <= 12 on onnxruntime-cpu",
        "size_mb drop from parent <= 1",
        "accuracy upper >= 0.9",  # would pass what may well be worse
        "ece lower <= 0.1",
        "size_mb lower <= 1",
        "f1[] >= 0.9",
        "f1[a[b]] >= 0.9",
        "approved by 0 maintainers",
        "approved by maintainers",
        "approved by 1 reader",
        "unsigned",
        "no findings",
    ],
)
def test_a_rule_that_does_not_parse_is_refused_with_an_example(text):
    with pytest.raises(GateSyntaxError, match="Write, for example, 'accuracy >= 0.95 on team/dataset@v1'"):
        parse_rule(text)
