"""Search: repositories by their words, tags and sizes, and by what was measured of them.

    find(actor, RepositoryKind.MODEL, parse_search("resnet accuracy>0.9"), cursor=None, limit=50)

Only what the reader may read is looked at, measures on datasets included: nobody learns from a search how a model did
on data that they may not see.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.card import refresh_card
from steelyard_platform.repos.models import CardTag, Entry, Repository
from steelyard_platform.repos.paging import page_of
from steelyard_platform.repos.queries import search as named
from steelyard_platform.repos.queries import visible_repositories
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.repos.search import EDITION, holding, note_size, write_document
from steelyard_platform.weights.models import Evaluation, NewestMeasure
from steelyard_platform.weights.search_syntax import Bound, Search, Sort

_EVALUATIONS_LOOKED_AT = 200
_COUNTED = 1_000
_OUTDATED_AT_ONCE = 200
_log = logging.getLogger(__name__)
_SORT_FIELDS = {
    Sort.UPDATED: "updated_at",
    Sort.CREATED: "created_at",
    Sort.NAME: "document__name",
    Sort.SIZE: "document__size",
    Sort.DOWNLOADS: "document__downloads",
}
_READ: dict[Sort, Any] = {Sort.NAME: str, Sort.SIZE: int, Sort.DOWNLOADS: int}


@dataclass(frozen=True, slots=True)
class Hit:
    """A repository, and of each measure that was asked for the value that made it a hit."""

    repository: Repository
    measures: dict[str, float] = field(default_factory=dict)


def find(
    actor: Actor, kind: RepositoryKind, search: Search, *, cursor: str | None, limit: int
) -> tuple[list[Hit], str | None]:
    """A page of hits and the next one's cursor, in two queries. Raises: InvalidInputError for a bad cursor."""
    found: Sequence[Repository]
    if search.sort is Sort.METRIC:
        found, following = _best_first(actor, kind, search, cursor, limit)
    else:
        # Whatever has no document yet cannot be sorted by it; the words are for the database alone.
        rows = matching(actor, kind, search).filter(document__isnull=False)
        rows = rows.select_related("document").defer("document__words")
        found, following = page_of(
            rows.annotate(sorted_by=F(_SORT_FIELDS[search.sort])),
            field="sorted_by",
            cursor=cursor,
            limit=limit,
            ascending=search.sort is Sort.NAME,
            read=_READ.get(search.sort, datetime.fromisoformat),
        )
    measures = _measures_of(found, actor, search)
    return [Hit(repository, measures.get(repository.pk, {})) for repository in found], following


def _best_first(
    actor: Actor, kind: RepositoryKind, search: Search, cursor: str | None, limit: int
) -> tuple[list[Repository], str | None]:
    """By the first measure that is asked for. An index has them in order: only a page of them is looked at."""
    bound, others = search.measures[0], replace(search, measures=search.measures[1:])
    met, beyond = _measures(actor, bound), "gt" if bound.wants_more else "lt"
    better = Q(**{f"value__{beyond}": OuterRef("value")}) | Q(
        value=OuterRef("value"), **{f"pk__{beyond}": OuterRef("pk")}
    )
    best = met.filter(~Exists(met.filter(better, repository=OuterRef("repository"))))
    best = best.filter(repository__in=matching(actor, kind, others).values("pk"))
    rows = best.select_related("repository__team", "repository__document").defer("repository__document__words")
    found, following = page_of(
        rows, field="value", cursor=cursor, limit=limit, ascending=not bound.wants_more, read=_finite
    )
    return [measure.repository for measure in found], following


def _finite(text: str) -> float:
    """Raises: ValueError."""
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def matching(actor: Actor, kind: RepositoryKind, search: Search) -> QuerySet[Repository]:
    rows = holding(visible_repositories(actor).filter(kind=kind), search.words)
    if search.name:
        rows = named(rows, search.name)
    for spellings in search.tags:
        rows = rows.filter(Exists(CardTag.objects.filter(repository=OuterRef("pk"), tag__in=spellings)))
    for framework in search.frameworks:
        rows = rows.filter(Exists(_weights(framework)))
    for bound in search.sizes:
        rows = rows.filter(**{f"document__size__{bound.lookup}": bound.value})
    for bound in search.measures:
        rows = rows.filter(Exists(_measures(actor, bound).filter(repository=OuterRef("pk"))))
    return rows


def count(actor: Actor, kind: RepositoryKind, search: Search) -> tuple[int, bool]:
    """How many there are, and whether there are more than anybody counts."""
    found = matching(actor, kind, search).order_by().values("pk")[: _COUNTED + 1].count()
    return min(found, _COUNTED), found > _COUNTED


def _weights(framework: str) -> QuerySet[Entry]:
    """What main holds now that a worker found to be of the framework, or of the format of that name."""
    is_it = Q(blob__weight_file__framework__iexact=framework) | Q(blob__weight_file__format__iexact=framework)
    return Entry.objects.filter(
        is_it, branch__repository=OuterRef("pk"), branch__name=DEFAULT_REVISION, removed_in=None
    )


def _measures(actor: Actor, bound: Bound) -> QuerySet[NewestMeasure]:
    return NewestMeasure.objects.filter(_is_met(bound), dataset__in=visible_repositories(actor).values("pk"))


def _is_met(bound: Bound) -> Q:
    return Q(metric=bound.name, **{f"value__{bound.lookup}": bound.value})


def _measures_of(rows: Sequence[Repository], actor: Actor, search: Search) -> dict[UUID, dict[str, float]]:
    """Of a page of rows, by repository and metric: the best of the values that meet the condition. One query."""
    found: dict[UUID, dict[str, float]] = {}
    if not rows or not search.measures:
        return found
    wanted = Q()
    for bound in search.measures:
        wanted |= _is_met(bound)
    readable = visible_repositories(actor).values("pk")
    met = NewestMeasure.objects.filter(wanted, repository__in=rows, dataset__in=readable)
    wants_more = {bound.name: bound.wants_more for bound in search.measures}
    for repository, metric, value in met.values_list("repository", "metric", "value"):
        best = max if wants_more[metric] else min
        values = found.setdefault(repository, {})
        values[metric] = best(value, values.get(metric, value))
    return found


@transaction.atomic
def index_measures(repository: Repository) -> None:
    """Of each dataset, the newest version of main that was measured on it counts. Costs one look at the newest rows."""
    rows = Evaluation.objects.filter(version__repository=repository, version__branch__name=DEFAULT_REVISION)
    newest: dict[tuple[UUID, str], float] = {}
    for dataset, metrics in rows.order_by("-version__number", "-created_at", "-pk").values_list(
        "dataset__repository_id", "metrics"
    )[:_EVALUATIONS_LOOKED_AT]:
        for metric, value in metrics.items():
            if _is_number(value):
                newest.setdefault((dataset, metric[:60]), float(value))
    measures = [
        NewestMeasure(repository=repository, dataset_id=dataset, metric=metric, value=value)
        for (dataset, metric), value in sorted(newest.items(), key=str)
    ]
    written = NewestMeasure.objects.bulk_create(
        measures, update_conflicts=True, unique_fields=["repository", "dataset", "metric"], update_fields=["value"]
    )
    kept = {(measure.dataset_id, measure.metric) for measure in written}
    stale = NewestMeasure.objects.filter(repository=repository)
    gone = [pk for pk, *key in stale.values_list("pk", "dataset_id", "metric") if tuple(key) not in kept]
    stale.filter(pk__in=gone).delete()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def index_again(repository: Repository) -> None:
    """Everything that search knows of a repository, from what the repository holds."""
    version = resolve(repository).version
    if version is None:
        write_document(repository)
    else:
        refresh_card(repository, version)
    note_size(repository, version.total_size if version else 0)
    index_measures(repository)


def index_outdated() -> int:
    """Writes again what former editions wrote, as after an update; a bounded number. Returns how many.

    Raises: OSError while cards cannot be fetched; then it is tried again later.
    """
    outdated = Repository.objects.filter(document__edition__lt=EDITION).select_related("team")
    rows = list(outdated.order_by("pk")[:_OUTDATED_AT_ONCE])
    for repository in rows:
        try:
            index_again(repository)
        except SteelyardError:
            _log.exception("%s is found by its name alone: its card could not be read", repository.full_name)
            write_document(repository)
    return len(rows)
