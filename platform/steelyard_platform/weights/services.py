"""Recording what jobs measured, and promotion: moving an alias past the gates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from steelyard_contracts.errors import (
    GateRefusedError,
    InvalidInputError,
    InvalidNameError,
    NotFoundError,
)
from steelyard_contracts.jobs import EvaluationReport, LineageReport
from steelyard_contracts.names import check_reference_name
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.repos import services as repos
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Alias, AliasMove, Repository, Version
from steelyard_platform.repos.queries import visible_repositories
from steelyard_platform.weights.approvals import is_asked_and_approved, settle
from steelyard_platform.weights.evaluations import keep_record
from steelyard_platform.weights.facts import facts_of
from steelyard_platform.weights.gates import SignatureRule, Verdict, judge, parse_rule
from steelyard_platform.weights.models import Evaluation, GateRule, LineageEdge, Relation
from steelyard_platform.weights.search import index_measures
from steelyard_platform.weights.signing import is_signed


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
        task=report.task,
        pictures=report.pictures,
        metrics=report.metrics,
        intervals={metric: interval.model_dump() for metric, interval in report.intervals.items()},
        environment=report.environment,
        job=job,
    )
    keep_record(evaluation, report)
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


def promote_version(*, version: Version, alias: str, reason: str, actor: Actor, override: bool = False) -> Alias:
    """Moves `alias` to `version` if every gate allows it, and settles the requests that ask for that.

    Raises:
        GateRefusedError: which rule, what was measured, what is asked; the attempt is audited.
        ForbiddenError: the actor may not move this alias, or not override its gates.
        InvalidInputError: an override without a reason.
        InvalidNameError: no name for an alias.
    """
    repository = version.repository
    repos.refuse_jobs(actor)
    demand(actor, Action.WRITE, repository.resource)
    if alias == GateRule.RELEASE:
        raise InvalidNameError(
            f"Gates mean releases to devices by {alias!r}; choose another name, or release the version.", name=alias
        )
    sign_if_asked(version, alias)
    with gated(repository, actor):
        verdicts = pass_gates(
            f"{repository.full_name}@{version.label} cannot become {alias!r}",
            version,
            alias,
            override=override,
            reason=reason,
            actor=actor,
        )
        moved = repos.move_alias(
            version=version,
            name=alias,
            reason=reason,
            verdicts=[verdict.as_record() for verdict in verdicts],
            actor=actor,
            is_approved=is_asked_and_approved(version, alias, actor),
        )
        newest = AliasMove.objects.filter(repository=repository, alias=alias).latest("pk")
        settle(version, alias, move=newest, actor=actor)
    return moved


@contextmanager
def gated(repository: Repository, actor: Actor) -> Iterator[None]:
    """One transaction, in which nobody else moves the repository's names; a refusal leaves its audit row all the same.

    Raises: GateRefusedError.
    """
    try:
        with transaction.atomic():
            lock_repository(repository.pk)
            yield
    except GateRefusedError as refusal:
        version, verdicts = refusal.details["version"], refusal.details["verdicts"]
        failed = [verdict["rule"] for verdict in verdicts if not verdict["passed"]]
        audit.record(actor, "refused by gate", repository.full_name, version=version, rules=failed)
        raise


def pass_gates(what: str, version: Version, target: str, *, override: bool, reason: str, actor: Actor) -> list[Verdict]:
    """The verdicts, when they allow the move or the actor overrides them.

    Raises: GateRefusedError with every rule; for an override ForbiddenError, and InvalidInputError without a reason.
    """
    verdicts = verdicts_for(version, target)
    refuse_unless_passed(what, verdicts, version, override=override, reason=reason, actor=actor)
    return verdicts


def refuse_unless_passed(
    what: str, verdicts: list[Verdict], version: Version, *, override: bool, reason: str, actor: Actor
) -> None:
    """Raises: as `pass_gates`."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if not failed:
        return
    if not override:
        sentences = "; ".join(verdict.sentence for verdict in failed)
        records = [verdict.as_record() for verdict in verdicts]
        raise GateRefusedError(f"{what}: {sentences}.", version=version.label, verdicts=records)
    demand(actor, Action.MANAGE, version.repository.resource)
    if not (why := repos.tidy_reason(reason)):
        raise InvalidInputError("Gates are overridden with a reason; say why this version is right all the same.")
    audit.record(
        actor,
        "override gates",
        version.repository.full_name,
        version=version.label,
        rules=[f"{verdict.rule}: {verdict.sentence}" for verdict in failed],
        reason=why,
    )


def verdicts_for(version: Version, applies_to: str) -> list[Verdict]:
    """What each rule that guards `applies_to` (an alias, or `release`) says of the version."""
    texts = _rules_for(version.repository, applies_to)
    if not texts:
        return []
    facts = facts_of(version, applies_to, [parse_rule(text) for text in texts])
    return [judge(text, facts) for text in texts]


def sign_if_asked(version: Version, applies_to: str) -> None:
    """Has the version signed when a rule asks for that: before the transaction, because the key may lie elsewhere."""
    rules = map(parse_rule, _rules_for(version.repository, applies_to))
    if any(isinstance(rule, SignatureRule) for rule in rules):
        is_signed(version)


def _rules_for(repository: Repository, applies_to: str) -> list[str]:
    guarding = [GateRule.ANY, applies_to]
    rules = GateRule.objects.filter(repository=repository, applies_to__in=guarding).order_by("pk")
    return [rule.text for rule in rules]


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
