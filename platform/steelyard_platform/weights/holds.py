"""Gates, lineage and requests: what a rule is measured on, something was made from, or somebody asks about is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.models import Exists, OuterRef, Q, QuerySet

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.names import is_commit_id, is_version_number
from steelyard_contracts.promotions import PromotionState
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.repos.holds import ALWAYS, MOST_NAMED, NEVER, PARTS, Doomed, Extent, Found
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import visible_repositories
from steelyard_platform.weights.models import Evaluation, GateRule, LineageEdge, Promotion


class GateHolder:
    """`accuracy >= 0.95 on lab/digits@v3` keeps that version, and with or without a version it keeps the dataset.

    A rule of another team counts once something of theirs was measured on the dataset: by then they were allowed to
    read it. Before, anybody could keep anything by naming it.
    """

    kind = "gate"
    told = stops = ALWAYS

    def held(self, repository: Repository) -> Q:
        return _pinned(ref for _, ref in _rules_on(repository))

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:
        rules = _rules_on(doomed.repository)
        going = doomed.versions.filter(_pinned(ref for _, ref in rules)).values_list("number", "commit_id")
        labels = {name: f"v{number}" for number, commit in going for name in (f"v{number}", commit)}
        all_goes = doomed.extent is Extent.REPOSITORY
        for rule, ref in [one for one in rules if all_goes or one[1].revision in labels][: MOST_NAMED + 1]:
            home, label = rule.repository, labels.get(ref.revision or "")
            to = label or ref.repository
            if may(actor, Action.SEE, home.resource):
                what = f"the gate {rule.text!r} of {home.full_name} refers to {to}"
                yield Found(f"{home.full_name}: {rule.text}", label, what)
            else:
                yield Found("", label, f"a gate of a model that you may not see refers to {to}")


def _pinned(refs: Iterable[Ref]) -> Q:
    """The versions that these name by number or commit; who names an alias or a tag is kept by that."""
    revisions = [ref.revision for ref in refs if ref.revision]
    numbers = [int(revision[1:]) for revision in revisions if is_version_number(revision)]
    return Q(number__in=numbers) | Q(commit_id__in=[revision for revision in revisions if is_commit_id(revision)])


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


class PromotionHolder:
    """A request to promote a version that waits for an answer: it keeps it from expiry, and people are told."""

    kind = "promotion"
    told, stops = PARTS, NEVER

    def held(self, repository: Repository) -> Q:  # noqa: ARG002 - the protocol's
        return Q(Exists(_open_requests().filter(version=OuterRef("pk"))))

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:  # noqa: ARG002 - the protocol's
        rows = _open_requests().filter(version__in=doomed.versions.values("pk")).select_related("version")
        for row in rows.order_by("number")[: MOST_NAMED + 1]:
            label = str(row.version)
            yield Found(f"#{row.number}", label, f"the request #{row.number} asks to make {label} {row.target!r}")


def _open_requests() -> QuerySet[Promotion]:
    return Promotion.objects.filter(state=PromotionState.OPEN)
