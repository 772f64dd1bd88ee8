"""Gates: rules as people write them, and the verdict on a version. Pure: a test needs no server.

accuracy >= 0.95 on team/dataset@v3            the newest evaluation on that dataset version
accuracy lower >= 0.95 on team/dataset@v3      the lower end of the figure's interval, so that luck does not pass
f1[cat] >= 0.9                                 of one class
latency_ms_p50 <= 30 on onnxruntime-cpu        the newest evaluation in that runtime
accuracy drop from parent <= 0.01              against the version it was made from, on the same data
size_mb <= 12                                  all files of the version, in millions of bytes
no scan findings                               every file that may hold weights was looked into, and nothing was found
signed                                         by a key of this installation that still counts
approved by 1 maintainer                       of those who did not ask for the promotion themselves
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from steelyard_contracts.errors import GateSyntaxError, InvalidReferenceError
from steelyard_contracts.refs import RepositoryKind, parse_ref

# Of all data, or of one class, which is named as it is: `f1[traffic light]`.
_METRIC = r"(?P<metric>[a-z][a-z0-9_]*(?:\[[^\[\]]{1,200}\])?)"
_ON = r"(?: +on +(?P<where>\S+))?"
_THRESHOLD = re.compile(rf"{_METRIC}(?: +(?P<end>lower|upper))? *(?P<operator>>=|<=) *(?P<limit>-?[0-9.]+){_ON}")
_DROP = re.compile(rf"{_METRIC} +drop +from +parent *<= *(?P<limit>[0-9.]+){_ON}")
_APPROVED = re.compile(r"approved +by +(?P<count>[1-9][0-9]?) +maintainers?")
_HELP = (
    "Write, for example, 'accuracy >= 0.95 on team/dataset@v1', 'accuracy lower >= 0.93', 'f1[cat] >= 0.9', "
    "'ece upper <= 0.05', 'accuracy drop from parent <= 0.01', "
    "'size_mb <= 12', 'no scan findings', 'signed', 'approved by 1 maintainer'."
)
_ROUNDING = 1e-9
# What a version weighs is known without measuring it anywhere.
_SIZE = "size_mb"
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a measure must come from: a dataset (perhaps at a version), a runtime, or anywhere."""

    dataset: str | None = None
    dataset_version: str | None = None
    runtime: str | None = None

    def holds(self, measured: Measured) -> bool:
        return (
            self.dataset in {None, measured.dataset}
            and (self.dataset_version is None or self.dataset_version in measured.dataset_names)
            and self.runtime in {None, measured.runtime}
        )

    def __str__(self) -> str:
        if self.dataset:
            return f" on {self.dataset}" + (f"@{self.dataset_version}" if self.dataset_version else "")
        return f" on {self.runtime}" if self.runtime else ""


@dataclass(frozen=True, slots=True)
class Measured:
    """One recorded evaluation, as the rules see it. `other_names`: what else the dataset version is called now.

    `metrics` holds `f1[cat]` of a class as well; `intervals` the (lower, upper) ends of those that have one.
    """

    metrics: Mapping[str, float]
    dataset: str
    dataset_version: str
    runtime: str
    other_names: frozenset[str] = frozenset()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def dataset_names(self) -> frozenset[str]:
        return self.other_names | {self.dataset_version}


@dataclass(frozen=True, slots=True)
class Scan:
    """How many files nobody has looked into yet, and what was found in the others: a sentence each."""

    unread: int
    findings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class GateFacts:
    """All that rules ask about a version. `approved_by`: maintainers; measures come newest first."""

    size: int = 0
    measures: Sequence[Measured] = ()
    parent_measures: Sequence[Measured] = ()
    scan: Scan = Scan(unread=1)
    is_signed: bool = False
    approved_by: Sequence[str] = ()


class End(StrEnum):
    """Which end of a figure's interval of 95 % a rule asks for."""

    LOWER = "lower"
    UPPER = "upper"


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    metric: str
    at_least: bool
    limit: float
    place: Place
    end: End | None = None

    @property
    def names_a_class(self) -> bool:
        return self.metric.endswith("]")

    @property
    def figure(self) -> str:
        """As a sentence says it."""
        return f"the {self.end} end of {self.metric}" if self.end else self.metric

    @property
    def asked(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}"

    def allows(self, value: float) -> bool:
        return value >= self.limit - _ROUNDING if self.at_least else value <= self.limit + _ROUNDING


@dataclass(frozen=True, slots=True)
class SizeRule:
    threshold: ThresholdRule


@dataclass(frozen=True, slots=True)
class DropRule:
    metric: str
    limit: float
    place: Place

    @property
    def names_a_class(self) -> bool:
        return self.metric.endswith("]")


@dataclass(frozen=True, slots=True)
class ScanRule:
    """Nothing was found."""


@dataclass(frozen=True, slots=True)
class SignatureRule:
    """It is signed."""


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    count: int


Rule = ThresholdRule | SizeRule | DropRule | ScanRule | SignatureRule | ApprovalRule
_PLAIN_RULES: dict[str, Rule] = {"no scan findings": ScanRule(), "signed": SignatureRule()}


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
    try:
        rule = _read(text.strip())
    except (ValueError, InvalidReferenceError) as error:
        raise GateSyntaxError(f"The rule {text!r} does not parse. {_HELP}", rule=text) from error
    if rule is None:
        raise GateSyntaxError(f"The rule {text!r} does not parse. {_HELP}", rule=text)
    return rule


def _read(text: str) -> Rule | None:
    """None, or ValueError or InvalidReferenceError, for what is no rule."""
    if (plain := _PLAIN_RULES.get(" ".join(text.split()))) is not None:
        return plain
    if match := _APPROVED.fullmatch(text):
        return ApprovalRule(int(match["count"]))
    if match := _DROP.fullmatch(text):
        return (
            None
            if match["metric"] == _SIZE
            else DropRule(match["metric"], float(match["limit"]), _place(match["where"]))
        )
    if match := _THRESHOLD.fullmatch(text):
        place = _place(match["where"])
        end = End(match["end"]) if match["end"] else None
        rule = ThresholdRule(match["metric"], match["operator"] == ">=", float(match["limit"]), place, end)
        if match["metric"] != _SIZE:
            return rule if _asks_for_the_worse_end(rule) else None
        return SizeRule(rule) if place == Place() and end is None else None
    return None


def _asks_for_the_worse_end(rule: ThresholdRule) -> bool:
    """At least: the lower end; at most: the upper. The other ends would let pass what may well be too bad."""
    return rule.end in {None, End.LOWER if rule.at_least else End.UPPER}


def _place(where: str | None) -> Place:
    if where is None:
        return Place()
    if "/" not in where:
        return Place(runtime=where)
    ref = parse_ref(where, kind=RepositoryKind.DATASET)
    return Place(dataset=ref.repository, dataset_version=ref.revision)


def judge(text: str, facts: GateFacts) -> Verdict:
    """The verdict of one rule."""
    match parse_rule(text):
        case ThresholdRule() as rule:
            return _judge_threshold(text, rule, facts)
        case SizeRule(threshold):
            value = facts.size / _MEGABYTE
            sentence = f"it weighs {value:.4g} MB; {threshold.asked} is asked"
            return Verdict(text, threshold.allows(value), value, sentence)
        case DropRule() as rule:
            return _judge_drop(text, rule, facts)
        case ScanRule():
            return _judge_scan(text, facts.scan)
        case SignatureRule():
            is_signed = "it is signed" if facts.is_signed else "it has no valid signature"
            return Verdict(text, facts.is_signed, None, f"{is_signed}; one by this installation is asked")
        case ApprovalRule(count):
            return _judge_approval(text, count, facts)


def _judge_threshold(text: str, rule: ThresholdRule, facts: GateFacts) -> Verdict:
    found = _newest(rule.metric, rule.place, facts.measures)
    if found is None:
        return _never_measured(text, f"{rule.metric}{rule.place}")
    value = found.metrics[rule.metric]
    if rule.end is not None:
        if (ends := found.intervals.get(rule.metric)) is None:
            sentence = (
                f"{rule.metric}{rule.place} was measured without an interval, which evaluations give to some figures "
                "alone; evaluate this version again, or ask for the figure itself"
            )
            return Verdict(text, passed=False, measured=None, sentence=sentence)
        value = ends[0] if rule.end is End.LOWER else ends[1]
    sentence = f"{rule.figure}{rule.place} is {value:.4g}; {rule.asked} is asked"
    return Verdict(text, rule.allows(value), value, sentence)


def _judge_drop(text: str, rule: DropRule, facts: GateFacts) -> Verdict:
    found = _newest(rule.metric, rule.place, facts.measures)
    if found is None:
        return _never_measured(text, f"{rule.metric}{rule.place}")
    same_data = Place(dataset=found.dataset, dataset_version=found.dataset_version)
    parent = _newest(rule.metric, same_data, facts.parent_measures)
    if parent is None:
        sentence = f"{rule.metric}{same_data} was never measured for the version it was made from"
        return Verdict(text, passed=False, measured=None, sentence=sentence)
    drop = parent.metrics[rule.metric] - found.metrics[rule.metric]
    sentence = (
        f"{rule.metric} went from {parent.metrics[rule.metric]:.4g} to {found.metrics[rule.metric]:.4g}{same_data}; "
        f"a loss of at most {rule.limit:g} is asked"
    )
    return Verdict(text, drop <= rule.limit + _ROUNDING, drop, sentence)


def _judge_scan(text: str, scan: Scan) -> Verdict:
    if scan.findings:
        many = "1 finding" if len(scan.findings) == 1 else f"{len(scan.findings)} findings, the first of them"
        sentence = f"{many}: {scan.findings[0].rstrip('.')}; none is asked"
        return Verdict(text, passed=False, measured=float(len(scan.findings)), sentence=sentence)
    if scan.unread:
        many = "1 file was" if scan.unread == 1 else f"{scan.unread} files were"
        return Verdict(
            text, passed=False, measured=None, sentence=f"{many} not scanned yet; ask again when that is done"
        )
    return Verdict(text, passed=True, measured=0.0, sentence="nothing was found in its files; no finding is asked")


def _judge_approval(text: str, count: int, facts: GateFacts) -> Verdict:
    there = len(facts.approved_by)
    who = f"approved by {', '.join(facts.approved_by)}" if there else "no maintainer has approved it"
    asked = "1 approval is asked" if count == 1 else f"{count} approvals are asked"
    return Verdict(text, there >= count, float(there), f"{who}; {asked}")


def _never_measured(text: str, what: str) -> Verdict:
    sentence = f"{what} was never measured; evaluate this version first"
    return Verdict(text, passed=False, measured=None, sentence=sentence)


def _newest(metric: str, place: Place, evaluations: Sequence[Measured]) -> Measured | None:
    return next((one for one in evaluations if metric in one.metrics and place.holds(one)), None)
