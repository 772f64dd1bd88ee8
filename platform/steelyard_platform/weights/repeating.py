"""What was measured of a version holds for another with the same weights, such as one with an edited card."""

from __future__ import annotations

from typing import TypeVar

from django.db import models, transaction

from steelyard_platform.repos.models import Version
from steelyard_platform.weights.models import Evaluation, EvaluationRecord, EvaluationSample, LineageEdge, Relation
from steelyard_platform.weights.search import index_measures

# Looked through for the newest of each dataset version, split and runtime.
_MOST = 500
_Row = TypeVar("_Row", bound=models.Model)


@transaction.atomic
def repeat_evaluations(*, made: Version, version: Version) -> None:
    """The newest measures of each place, with their date and their edge of lineage. Twice is the same as once."""
    newest: dict[tuple[int, str, str], Evaluation] = {}
    for row in Evaluation.objects.filter(version=made).order_by("-created_at", "-pk")[:_MOST]:
        newest.setdefault((row.dataset_id, row.split, row.runtime), row)
    for place in Evaluation.objects.filter(version=version).values_list("dataset", "split", "runtime"):
        newest.pop(place, None)
    for row in newest.values():
        _repeat(row, version)
    if newest:
        index_measures(version.repository)


def _repeat(row: Evaluation, version: Version) -> None:
    samples = list(EvaluationSample.objects.filter(evaluation=row))
    record = EvaluationRecord.objects.filter(evaluation=row).first()
    measured_at = row.created_at
    row.version = version
    copy = _as_new(row)
    copy.save()
    edge = {"source_id": row.dataset_id, "target": version, "relation": Relation.EVALUATED_ON}
    LineageEdge.objects.get_or_create(**edge, defaults={"job": row.job})
    Evaluation.objects.filter(pk=copy.pk).update(created_at=measured_at)  # which saving had set to now
    for sample in samples:
        sample.evaluation = copy
    EvaluationSample.objects.bulk_create(_as_new(sample) for sample in samples)
    if record is not None:
        record.evaluation = copy
        record.save(force_insert=True)


def _as_new(row: _Row) -> _Row:
    """Saving it makes another one, as Django's documentation copies instances."""
    row.pk = None
    row._state.adding = True  # noqa: SLF001 - as above
    return row
