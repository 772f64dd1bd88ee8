"""What is recorded about a version that its gates ask for, gathered in few queries however much there is."""

from __future__ import annotations

from collections.abc import Sequence

from steelyard_platform.repos.models import Version
from steelyard_platform.weights.approvals import approvers_of
from steelyard_platform.weights.gates import (
    ApprovalRule,
    DropRule,
    GateFacts,
    Measured,
    Rule,
    Scan,
    ScanRule,
    SignatureRule,
    ThresholdRule,
)
from steelyard_platform.weights.inspection import files_of, files_to_inspect, findings_of
from steelyard_platform.weights.models import Evaluation, EvaluationRecord
from steelyard_platform.weights.signing import known_signature

_EVALUATIONS_LOOKED_AT = 200


def facts_of(version: Version, target: str, rules: Sequence[Rule]) -> GateFacts:
    """What these rules ask, for moving the alias `target` to the version, or for releasing it."""
    asked = {type(rule) for rule in rules}
    measured = [rule for rule in rules if isinstance(rule, ThresholdRule | DropRule)]
    by_class = any(rule.names_a_class for rule in measured)
    return GateFacts(
        size=version.total_size,
        measures=measures_of(version, by_class=by_class) if measured else (),
        parent_measures=measures_of(origin_of(version), by_class=by_class) if DropRule in asked else (),
        scan=_scan_of(version) if ScanRule in asked else Scan(unread=1),
        is_signed=SignatureRule in asked and known_signature(version) is not None,
        approved_by=approvers_of(version, target) if ApprovalRule in asked else (),
    )


def _scan_of(version: Version) -> Scan:
    found = [f"{finding.path}: {finding.sentence}" for finding in findings_of(files_of(version))]
    # A version that nobody has looked at may hold more than its files' names say.
    return Scan(unread=len(files_to_inspect(version)) or int(not version.is_examined), findings=found)


def origin_of(version: Version) -> Version | None:
    """The version this one was made from: for a variant what its side branch stands on, else its parent.

    A variant made again is judged against the same origin, or each time could lose a little more.
    """
    is_variant = version.branch.base is not None and not version.branch.sees_base
    return version.branch.base if is_variant else version.parent or version.branch.base


def measures_of(version: Version | None, *, by_class: bool = False) -> list[Measured]:
    """The newest evaluations, newest first; with the figures of each class where a rule asks for one."""
    if version is None:
        return []
    rows = Evaluation.objects.filter(version=version, dataset__repository__is_trashed=False)
    rows = rows.select_related("dataset__repository__team", "dataset__branch")
    rows = rows.prefetch_related("dataset__aliases", "dataset__tags").order_by("-created_at", "-pk")
    found = list(rows[:_EVALUATIONS_LOOKED_AT])
    classes = _classes_of(found) if by_class else {}
    return [
        Measured(
            metrics={**row.metrics, **classes.get(row.pk, {})},
            dataset=row.dataset.repository.full_name,
            dataset_version=row.dataset.label,
            runtime=row.runtime,
            other_names=_names_of(row.dataset),
            intervals={metric: (ends["low"], ends["high"]) for metric, ends in row.intervals.items()},
        )
        for row in found
    ]


def _classes_of(rows: Sequence[Evaluation]) -> dict[int, dict[str, float]]:
    """Of each evaluation the measures of its classes, as rules name them: `f1[cat]`. One query."""
    records = EvaluationRecord.objects.filter(evaluation__in=rows).values_list("evaluation_id", "classes")
    return {
        evaluation: {f"{metric}[{one['label']}]": value for one in classes for metric, value in one["measures"].items()}
        for evaluation, classes in records
    }


def _names_of(dataset: Version) -> frozenset[str]:
    """What else a rule may call this version by: its commit, and the names that stand on it now."""
    aliases, tags = (one.name for one in dataset.aliases.all()), (one.name for one in dataset.tags.all())
    branch = [dataset.branch.name] if dataset.branch.head_id == dataset.pk else []
    return frozenset([dataset.commit_id, *branch, *aliases, *tags])
