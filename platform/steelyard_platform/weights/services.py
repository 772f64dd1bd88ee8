"""Recording what jobs measured, and promotion: moving an alias past the gates."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from steelyard_contracts.errors import ConflictError, GateRefusedError, NotFoundError
from steelyard_contracts.jobs import EvaluationReport, LineageReport
from steelyard_contracts.names import check_reference_name
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.repos import services as repos
from steelyard_platform.repos.models import Alias, Repository, Version
from steelyard_platform.repos.queries import visible_repositories
from steelyard_platform.weights.gates import Measured, Verdict, judge, parse_rule
from steelyard_platform.weights.models import Evaluation, GateRule, LineageEdge, Relation
from steelyard_platform.weights.search import index_measures

_EVALUATIONS_LOOKED_AT = 200


@transaction.atomic
def record_evaluation(*, version: Version, dataset: Version, report: EvaluationReport, job: UUID | None) -> Evaluation:
    """Adds the row and its edge of lineage. A job's second report of the same thing replaces nothing."""
    same = Evaluation.objects.filter(
        version=version, dataset=dataset, runtime=report.runtime, split=report.split, job=job
    )
    if job is not None and (known := same.first()) is not None:
        return known
    record_lineage(source=dataset, target=version, relation=Relation.EVALUATED_ON, job=job)
    evaluation = Evaluation.objects.create(
        version=version,
        dataset=dataset,
        split=report.split,
        runtime=report.runtime,
        metrics=report.metrics,
        environment=report.environment,
        job=job,
    )
    index_measures(version.repository)
    return evaluation


def record_lineage(*, source: Version, target: Version, relation: Relation, job: UUID | None) -> None:
    """Twice is the same as once. What was recorded is known better than what a card declared."""
    edge, _ = LineageEdge.objects.get_or_create(source=source, target=target, relation=relation, defaults={"job": job})
    if edge.declared:
        edge.declared, edge.job = False, job
        edge.save(update_fields=["declared", "job"])


def relation_of(report: LineageReport) -> Relation:
    return Relation(report.relation)


@transaction.atomic
def add_gate(*, repository: Repository, text: str, applies_to: str, actor: Actor) -> GateRule:
    """Raises: GateSyntaxError, InvalidNameError, ForbiddenError."""
    demand(actor, Action.MANAGE, repository.resource)
    parse_rule(text)
    if applies_to != GateRule.ANY:
        check_reference_name(applies_to, "alias")
    rule, _ = GateRule.objects.get_or_create(repository=repository, text=text.strip(), applies_to=applies_to)
    audit.record(actor, "add gate", repository.full_name, rule=rule.text, applies_to=applies_to)
    return rule


@transaction.atomic
def remove_gate(*, repository: Repository, gate: int, actor: Actor) -> None:
    """Raises: ForbiddenError, NotFoundError."""
    demand(actor, Action.MANAGE, repository.resource)
    rule = GateRule.objects.filter(repository=repository, pk=gate).first()
    if rule is None:
        raise NotFoundError(f"{repository.full_name} has no gate {gate}.")
    rule.delete()
    audit.record(actor, "remove gate", repository.full_name, rule=rule.text)


def promote_version(*, version: Version, alias: str, reason: str, actor: Actor) -> Alias:
    """Moves `alias` to `version` if every gate allows it.

    Raises:
        GateRefusedError: which rule, what was measured, what is asked; the attempt is audited.
        ForbiddenError: the actor may not move this alias.
    """
    demand(actor, Action.WRITE, version.repository.resource)
    verdicts = verdicts_for(version, alias)
    refuse_unless_passed(
        f"{version.repository.full_name}@{version.label} cannot become {alias!r}", verdicts, version, actor
    )
    records = [verdict.as_record() for verdict in verdicts]
    return repos.move_alias(version=version, name=alias, reason=reason, verdicts=records, actor=actor)


def refuse_unless_passed(what: str, verdicts: list[Verdict], version: Version, actor: Actor) -> None:
    """Raises: GateRefusedError with every rule that failed."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if not failed:
        return
    audit.record(
        actor,
        "refused by gate",
        version.repository.full_name,
        version=version.label,
        rules=[v.rule for v in failed],
    )
    sentences = "; ".join(verdict.sentence for verdict in failed)
    raise GateRefusedError(f"{what}: {sentences}.", verdicts=[verdict.as_record() for verdict in verdicts])


def verdicts_for(version: Version, applies_to: str) -> list[Verdict]:
    """What each rule that guards `applies_to` (an alias, or `release`) says of the version."""
    guarding = [GateRule.ANY, applies_to]
    rules = GateRule.objects.filter(repository=version.repository, applies_to__in=guarding).order_by("pk")
    texts = [rule.text for rule in rules]
    if not texts:
        return []
    own, parents = measures_of(version), measures_of(origin_of(version))
    return [judge(text, own, parents) for text in texts]


def origin_of(version: Version) -> Version | None:
    """The version this one was made from: for a variant what its side branch stands on, else its parent.

    A variant made again is judged against the same origin, or each time could lose a little more.
    """
    is_variant = version.branch.base is not None and not version.branch.sees_base
    return version.branch.base if is_variant else version.parent or version.branch.base


def visible_lineage(version: Version, actor: Actor) -> QuerySet[LineageEdge]:
    """The edges at a version whose other end the actor may read too."""
    readable = visible_repositories(actor).values("pk")
    edges = LineageEdge.objects.filter(Q(source=version) | Q(target=version))
    edges = edges.filter(source__repository__in=readable, target__repository__in=readable)
    return edges.select_related("source__repository__team", "target__repository__team").order_by("pk")


def visible_evaluations(version: Version, actor: Actor) -> QuerySet[Evaluation]:
    """The version's evaluations on datasets that the actor may read, newest first."""
    rows = Evaluation.objects.filter(version=version, dataset__repository__in=visible_repositories(actor).values("pk"))
    return rows.select_related("dataset__repository__team").order_by("-created_at", "-pk")


def measures_of(version: Version | None) -> list[Measured]:
    """The newest evaluations, newest first, in one query."""
    if version is None:
        return []
    rows = Evaluation.objects.filter(version=version).select_related("dataset__repository__team")
    return [
        Measured(row.metrics, row.dataset.repository.full_name, row.dataset.label, row.runtime)
        for row in rows.order_by("-created_at", "-pk")[:_EVALUATIONS_LOOKED_AT]
    ]


@transaction.atomic
def delete_version(*, version: Version, actor: Actor) -> None:
    """Raises: ForbiddenError; ConflictError while something is named by it, stands on it, or was made from it.

    What a card declares hinders nobody: anyone may write one.
    """
    descendants = LineageEdge.objects.filter(source=version, declared=False).exclude(target=version)
    if count := descendants.count():
        raise ConflictError(
            f"{count} {'version was' if count == 1 else 'versions were'} made from {version.label} or measured on it; "
            "delete those first, or keep it for their lineage.",
            descendants=count,
        )
    repository = version.repository
    repos.delete_version(version=version, actor=actor)
    index_measures(repository)
