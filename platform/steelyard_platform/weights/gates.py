"""Gates: rules as people write them, and the verdict on a version. Pure: a test needs no server.

accuracy >= 0.95 on team/dataset@v3            the newest evaluation on that dataset version
latency_ms_p50 <= 30 on onnxruntime-cpu        the newest evaluation in that runtime
accuracy drop from parent <= 0.01              against the version it was made from, on the same data
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from steelyard_contracts.errors import GateSyntaxError, InvalidReferenceError
from steelyard_contracts.refs import RepositoryKind, parse_ref

_THRESHOLD = re.compile(
    r"(?P<metric>[a-z][a-z0-9_]*) *(?P<operator>>=|<=) *(?P<limit>-?[0-9.]+)(?: +on +(?P<where>\S+))?"
)
_DROP = re.compile(r"(?P<metric>[a-z][a-z0-9_]*) +drop +from +parent *<= *(?P<limit>[0-9.]+)(?: +on +(?P<where>\S+))?")
_HELP = "Write, for example, 'accuracy >= 0.95 on team/dataset@v1' or 'accuracy drop from parent <= 0.01'."
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Place:
    """Where a measure must come from: a dataset (perhaps at a version), a runtime, or anywhere."""

    dataset: str | None = None
    dataset_version: str | None = None
    runtime: str | None = None

    def holds(self, measured: Measured) -> bool:
        return (
            self.dataset in {None, measured.dataset}
            and self.dataset_version in {None, measured.dataset_version}
            and self.runtime in {None, measured.runtime}
        )

    def __str__(self) -> str:
        if self.dataset:
            return f" on {self.dataset}" + (f"@{self.dataset_version}" if self.dataset_version else "")
        return f" on {self.runtime}" if self.runtime else ""


@dataclass(frozen=True, slots=True)
class Measured:
    """One recorded evaluation, as the rules see it."""

    metrics: dict[str, float]
    dataset: str
    dataset_version: str
    runtime: str


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    metric: str
    at_least: bool
    limit: float
    place: Place


@dataclass(frozen=True, slots=True)
class DropRule:
    metric: str
    limit: float
    place: Place


Rule = ThresholdRule | DropRule


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says of one version; `measured` is None when nothing was."""

    rule: str
    passed: bool
    measured: float | None
    sentence: str

    def as_record(self) -> dict[str, object]:
        return {
            "rule": self.rule,
            "passed": self.passed,
            "measured": self.measured,
            "sentence": self.sentence,
        }


def parse_rule(text: str) -> Rule:
    """Raises: GateSyntaxError, with an example of what would parse."""
    stripped = text.strip()
    try:
        if match := _DROP.fullmatch(stripped):
            return DropRule(match["metric"], float(match["limit"]), _place(match["where"]))
        if match := _THRESHOLD.fullmatch(stripped):
            at_least = match["operator"] == ">="
            return ThresholdRule(match["metric"], at_least, float(match["limit"]), _place(match["where"]))
    except (ValueError, InvalidReferenceError) as error:
        raise GateSyntaxError(f"The rule {text!r} does not parse. {_HELP}", rule=text) from error
    raise GateSyntaxError(f"The rule {text!r} does not parse. {_HELP}", rule=text)


def _place(where: str | None) -> Place:
    if where is None:
        return Place()
    if "/" not in where:
        return Place(runtime=where)
    ref = parse_ref(where, kind=RepositoryKind.DATASET)
    return Place(dataset=ref.repository, dataset_version=ref.revision)


def judge(text: str, evaluations: Sequence[Measured], parents: Sequence[Measured]) -> Verdict:
    """The verdict of one rule.

    Args:
        text: the rule.
        evaluations: the version's own, newest first.
        parents: those of the version it was made from, newest first.
    """
    match parse_rule(text):
        case ThresholdRule() as rule:
            return _judge_threshold(text, rule, evaluations)
        case DropRule() as rule:
            return _judge_drop(text, rule, evaluations, parents)


def _judge_threshold(text: str, rule: ThresholdRule, evaluations: Sequence[Measured]) -> Verdict:
    found = _newest(rule.metric, rule.place, evaluations)
    if found is None:
        return Verdict(text, False, None, f"{rule.metric}{rule.place} was never measured; evaluate this version first")  # noqa: FBT003
    value = found.metrics[rule.metric]
    passed = value >= rule.limit - _ROUNDING if rule.at_least else value <= rule.limit + _ROUNDING
    word = "at least" if rule.at_least else "at most"
    return Verdict(text, passed, value, f"{rule.metric}{rule.place} is {value:.4g}; {word} {rule.limit:g} is asked")


def _judge_drop(text: str, rule: DropRule, evaluations: Sequence[Measured], parents: Sequence[Measured]) -> Verdict:
    found = _newest(rule.metric, rule.place, evaluations)
    if found is None:
        return Verdict(text, False, None, f"{rule.metric}{rule.place} was never measured; evaluate this version first")  # noqa: FBT003
    same_data = Place(dataset=found.dataset, dataset_version=found.dataset_version)
    parent = _newest(rule.metric, same_data, parents)
    if parent is None:
        sentence = f"{rule.metric}{same_data} was never measured for the version it was made from"
        return Verdict(text, False, None, sentence)  # noqa: FBT003
    drop = parent.metrics[rule.metric] - found.metrics[rule.metric]
    sentence = (
        f"{rule.metric} went from {parent.metrics[rule.metric]:.4g} to {found.metrics[rule.metric]:.4g}{same_data}; "
        f"a loss of at most {rule.limit:g} is asked"
    )
    return Verdict(text, drop <= rule.limit + _ROUNDING, drop, sentence)


def _newest(metric: str, place: Place, evaluations: Sequence[Measured]) -> Measured | None:
    return next((one for one in evaluations if metric in one.metrics and place.holds(one)), None)
