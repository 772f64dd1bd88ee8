"""Gates and lineage: a dataset version that a rule is measured on, and whatever something was made from, is kept."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q, QuerySet

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.names import is_version_number
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.repos.holds import ALWAYS, MOST_NAMED, PARTS, Doomed, Extent, Found
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import visible_repositories
from steelyard_platform.weights.models import Evaluation, GateRule, LineageEdge


class GateHolder:
    """`accuracy >= 0.95 on lab/digits@v3` keeps that version, and with or without a version it keeps the dataset.

    A rule of another team counts once something of theirs was measured on the dataset: by then they were allowed to
    read it. Before, anybody could keep anything by naming it.
    """

    kind = "gate"
    told = stops = ALWAYS

    def held(self, repository: Repository) -> Q:
        return Q(number__in=[number for _, ref in _rules_on(repository) if (number := _number(ref)) is not None])

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:
        rules = [(rule, ref, _number(ref)) for rule, ref in _rules_on(doomed.repository)]
        numbers = {number for _, _, number in rules if number is not None}
        going = set(doomed.versions.filter(number__in=numbers).values_list("number", flat=True))
        all_goes = doomed.extent is Extent.REPOSITORY
        for rule, ref, number in [one for one in rules if all_goes or one[2] in going][: MOST_NAMED + 1]:
            home, label = rule.repository, f"v{number}" if number is not None else None
            to = label or ref.repository
            if may(actor, Action.SEE, home.resource):
                what = f"the gate {rule.text!r} of {home.full_name} refers to {to}"
                yield Found(f"{home.full_name}: {rule.text}", label, what)
            else:
                yield Found("", label, f"a gate of a model that you may not see refers to {to}")


def _number(ref: Ref) -> int | None:
    """Of the version that the rule is pinned to."""
    return int(ref.revision[1:]) if ref.revision and is_version_number(ref.revision) else None


def _rules_on(repository: Repository) -> list[tuple[GateRule, Ref]]:
    """The rules that are measured on this dataset, with the words that say so. One query."""
    if repository.kind != RepositoryKind.DATASET:
        return []
    measured = Evaluation.objects.filter(version__repository=OuterRef("repository"), dataset__repository=repository)
    counting = Q(repository__team=repository.team_id) | Q(Exists(measured))
    rules = GateRule.objects.filter(counting, text__icontains=repository.full_name, repository__is_trashed=False)
    rules = rules.select_related("repository__team").order_by("pk")
    return [(rule, ref) for rule in rules for ref in _refs_in(rule.text) if ref.repository == repository.full_name]


def _refs_in(text: str) -> Iterator[Ref]:
    for word in text.split():
        try:
            yield parse_ref(word, kind=RepositoryKind.DATASET)
        except InvalidInputError:
            continue


class DescendantHolder:
    """What was made from a version, or measured on it. Its own variants stay and go with it.

    What a card declares hinders nobody: anyone may write one.
    """

    kind = "descendant"
    told, stops = ALWAYS, PARTS

    def held(self, repository: Repository) -> Q:  # noqa: ARG002 - the protocol's
        edges = _edges().filter(source=OuterRef("pk"))
        return Q(Exists(edges.exclude(target__branch__base=OuterRef("pk"), target__branch__sees_base=False)))

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:
        going = doomed.versions.values("pk")
        edges = _edges().filter(source__in=going).exclude(target__in=going)
        readable = set(visible_repositories(actor).filter(pk__in=edges.values("target__repository")).values_list("pk"))
        rows = edges.select_related("source", "target__repository__team").order_by("pk")
        for edge in rows[: MOST_NAMED + 1]:
            source, target = edge.source.label, edge.target
            name = f"{target.repository.full_name}@{target.label}" if (target.repository_id,) in readable else ""
            sentence = f"{name or 'a version that you may not see'} was made from {source} or measured on it"
            yield Found(name, source, sentence)


def _edges() -> QuerySet[LineageEdge]:
    return LineageEdge.objects.filter(declared=False, target__repository__is_trashed=False)
