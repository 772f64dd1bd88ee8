"""Lineage as cards declare it: `base_model`, `base_model_relation` and `datasets` of a model's front matter.

    declarations(metadata)          what the words say                        (pure)
    note_commit(version, …)         the edges that a commit brings without a job

A name leads to the version that it names, or else to the newest one at that moment, if the author may read it; any
other is kept as words. A commit that changes words alone (a card, a licence) makes a version of the same weights: it
was made from what the version before was made from, what was measured of that one holds for it, and what its card said
before keeps the meaning it had.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from steelyard_contracts.errors import ForbiddenError, InvalidInputError, NotFoundError, SteelyardError
from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind, parse_ref
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.card import CARD_PATH, card_text, parse_metadata, split_card
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.models import ExternalSource, LineageEdge, Relation
from steelyard_platform.weights.repeating import repeat_evaluations

_RELATIONS: Mapping[str, Relation] = {
    "finetune": Relation.FINE_TUNED_FROM,
    "adapter": Relation.FINE_TUNED_FROM,
    "quantized": Relation.QUANTIZED_FROM,
    "merge": Relation.MERGED_FROM,
}
_WORDS = frozenset({".gitattributes", ".gitignore", "LICENSE", "LICENSE.txt"})
_MOST_NAMES, _LONGEST_NAME = 50, 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Declaration:
    """One name that a card gives: `name` is as it is written, with a revision or without."""

    relation: Relation
    kind: RepositoryKind
    name: str

    @property
    def names_a_version(self) -> bool:
        return "@" in self.name


def declarations(metadata: Mapping[str, Any]) -> list[Declaration]:
    """What a model's front matter says that it was made from. Several bases without a relation are a merge."""
    bases = _names(metadata.get("base_model"))
    word = metadata.get("base_model_relation")
    relation = _RELATIONS.get(word) if isinstance(word, str) else None
    if relation is None:
        relation = Relation.MERGED_FROM if len(bases) > 1 else Relation.FINE_TUNED_FROM
    said = [Declaration(relation, RepositoryKind.MODEL, name) for name in bases]
    datasets = _names(metadata.get("datasets"))
    return said + [Declaration(Relation.TRAINED_ON, RepositoryKind.DATASET, name) for name in datasets]


def _names(value: Any) -> list[str]:
    """Each once, in their order; what is too long for a name, or cannot be shown as one, is none."""
    values = value if isinstance(value, list) else [value]
    found = [item.strip() for item in values if isinstance(item, str)]
    fit = [name for name in found if 0 < len(name) <= _LONGEST_NAME and name.isprintable()]
    return list(dict.fromkeys(fit))[:_MOST_NAMES]


def note_commit(*, version: Version, before: Version | None, paths: list[str], actor: Actor) -> None:
    """Notes what the version was made from, as far as its card and the version before say.

    A job reports on the versions that it commits itself, and knows better than the card that it writes.
    """
    if version.job is not None or version.repository.kind != RepositoryKind.MODEL:
        return
    of_words = all(path in _WORDS or path.endswith(".md") for path in paths)
    now = _said_by(version) if CARD_PATH in paths else None
    earlier = _said_by(before) if now and of_words else []
    with transaction.atomic():
        if before is not None and of_words:
            recorded = LineageEdge.objects.filter(target=before, declared=False)
            _repeat_edges(recorded.exclude(relation=Relation.EVALUATED_ON), version)
            repeat_evaluations(made=before, version=version)
        if now is not None:
            _declare(_Answers(version, before, earlier, actor), now)
        elif before is not None:
            _repeat_edges(LineageEdge.objects.filter(target=before, declared=True), version)
            _repeat_external(ExternalSource.objects.filter(target=before), version)


def _said_by(version: Version | None) -> list[Declaration]:
    """Nothing for a card that cannot be read: the commit is made, and says what it can."""
    try:
        front_matter, _ = split_card(card_text(version) or "")
    except SteelyardError:
        _log.exception("the card of version %s could not be read for its lineage", version)
        return []
    return declarations(parse_metadata(front_matter)[0])


def _declare(answers: _Answers, said: list[Declaration]) -> None:
    version, edges, external = answers.version, [], []
    for one in said:
        match answers.to(one):
            case Version() as source:
                edges.append(LineageEdge(source=source, target=version, relation=one.relation, declared=True))
            case str() as name:
                external.append(ExternalSource(target=version, relation=one.relation, kind=one.kind, name=name))
            case None:
                pass
    LineageEdge.objects.bulk_create(edges, ignore_conflicts=True)
    ExternalSource.objects.bulk_create(external, ignore_conflicts=True)
    if edges or external:
        names = [one.name for one in said]
        audit.record(
            answers.actor, "declare lineage", version.repository.full_name, version=version.label, sources=names
        )


class _Answers:
    """Which version, or which words, each name of a card stands for."""

    def __init__(self, version: Version, before: Version | None, earlier: list[Declaration], actor: Actor) -> None:
        self.version, self.actor = version, actor
        recorded = LineageEdge.objects.filter(target=version).exclude(relation=Relation.EVALUATED_ON)
        self._recorded = set(recorded.values_list("source__repository", flat=True))
        self._earlier = set(earlier)
        self._external = set[tuple[str, str]]()
        self._meant = dict[tuple[str, Any], Version]()
        if before is not None and earlier:
            self._external = set(ExternalSource.objects.filter(target=before).values_list("relation", "name"))
            edges = LineageEdge.objects.filter(target=before, declared=True).select_related("source")
            self._meant = {(edge.relation, edge.source.repository_id): edge.source for edge in edges}

    def to(self, said: Declaration) -> Version | str | None:
        """The version; the words, for what is not here; None where it is known better, or was left open before."""
        if said in self._earlier and (said.relation, said.name) in self._external:
            return said.name
        repository, revision = _named(said, self.actor)
        if repository is None:
            return said.name
        if said.names_a_version:
            return _at(repository, revision) or said.name
        if repository.pk in self._recorded:
            return None
        if said in self._earlier:
            return self._meant.get((said.relation, repository.pk))
        return self._newest(repository) or said.name

    def _newest(self, repository: Repository) -> Version | None:
        if repository.pk != self.version.repository_id:
            return _at(repository, DEFAULT_REVISION)
        # Of its own repository: the newest one before this.
        older = Version.objects.filter(repository=repository, branch__name=DEFAULT_REVISION)
        return older.filter(number__lt=self.version.number).order_by("-number").first()


def _named(said: Declaration, actor: Actor) -> tuple[Repository | None, str]:
    """The repository, if it is one and the author may read it, and the revision that is named."""
    try:
        ref = parse_ref(said.name, kind=said.kind)
        repository = find_repository(actor, said.kind, ref.repository) if ref.kind is said.kind else None
    except (InvalidInputError, NotFoundError, ForbiddenError):
        return None, ""
    return repository, ref.revision_or_default


def _at(repository: Repository, revision: str) -> Version | None:
    try:
        return resolve(repository, revision).version
    except NotFoundError:
        return None


def _repeat_edges(edges: QuerySet[LineageEdge], target: Version) -> None:
    same = [
        LineageEdge(
            source_id=edge.source_id, target=target, relation=edge.relation, job=edge.job, declared=edge.declared
        )
        for edge in edges
    ]
    LineageEdge.objects.bulk_create(same, ignore_conflicts=True)


def _repeat_external(rows: QuerySet[ExternalSource], target: Version) -> None:
    same = [ExternalSource(target=target, relation=row.relation, kind=row.kind, name=row.name) for row in rows]
    ExternalSource.objects.bulk_create(same, ignore_conflicts=True)
