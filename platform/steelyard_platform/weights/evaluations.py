"""What was measured of versions beside the headline figures: kept, shown, and set side by side.

keep_record(evaluation, report)            classes, curves, confusion, resamples and the worst pictures
detail_of(evaluation, actor)               all of it, for a page or the API
compare_evaluations(versions, actor)       the newest evaluations on the same data, and which differences are noise
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from django.db.models import Prefetch, QuerySet

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.evaluation import (
    ComparedEvaluation,
    ComparedPlace,
    EvaluationComparison,
    EvaluationDetail,
    EvaluationView,
    Measures,
    Paired,
    Replicates,
    SampleView,
    differences_of,
)
from steelyard_contracts.jobs import EvaluationReport
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import is_allowed, visible_repositories
from steelyard_platform.weights.models import Evaluation, EvaluationRecord, EvaluationSample

MOST_COMPARED = 8
_LOOKED_AT = 400
_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff")


def keep_record(evaluation: Evaluation, report: EvaluationReport) -> None:
    """In the caller's transaction. A report without measures leaves nothing. Raises: InvalidInputError."""
    if report.measures is not None or report.replicates is not None:
        measures = (report.measures or Measures()).model_dump(mode="json")
        replicates = report.replicates.model_dump(mode="json") if report.replicates else {}
        classes = measures.pop("classes")
        EvaluationRecord.objects.create(
            evaluation=evaluation, classes=classes, measures=measures, replicates=replicates
        )
    EvaluationSample.objects.bulk_create(
        EvaluationSample(
            evaluation=evaluation,
            rank=rank,
            path=sample.path,
            truth=sample.truth,
            answer=sample.answer,
            cost=sample.cost,
            picture=_picture(sample.picture),
        )
        for rank, sample in enumerate(report.samples)
    )


def find_evaluation(version: Version, number: int, actor: Actor) -> Evaluation:
    """One of the version's, on a dataset that the actor may see. Raises: NotFoundError."""
    found = _visible(actor).filter(version=version, pk=number).first()
    if found is None:
        raise NotFoundError(f"{version.repository.full_name}@{version.label} has no evaluation {number}.")
    return found


def view_of(evaluation: Evaluation) -> EvaluationView:
    """Of a row that came with its dataset's repository and that one's team."""
    return EvaluationView.model_validate(_fields(evaluation))


def detail_of(evaluation: Evaluation, actor: Actor) -> EvaluationDetail:
    """With everything; the pictures' addresses for those who may read the dataset's files, and no names otherwise."""
    record = EvaluationRecord.objects.filter(evaluation=evaluation).first()
    measures = {**record.measures, "classes": record.classes} if record else {}
    return EvaluationDetail.model_validate(
        {
            **_fields(evaluation),
            "measures": Measures.model_validate(measures),
            "samples": _samples(evaluation) if may_see_pictures(evaluation, actor) else [],
        }
    )


def may_see_pictures(evaluation: Evaluation, actor: Actor) -> bool:
    """Pictures are the dataset's files: who may not read those sees none of them here."""
    return is_allowed(actor, Action.READ, evaluation.dataset.repository)


def sample_picture(evaluation: Evaluation, rank: int, actor: Actor) -> bytes:
    """A PNG or a JPEG. Raises: NotFoundError."""
    found = EvaluationSample.objects.filter(evaluation=evaluation, rank=rank).first()
    if found is None or not may_see_pictures(evaluation, actor):
        raise NotFoundError(f"There is no such picture of evaluation {evaluation.pk}, or you may not see it.")
    return bytes(found.picture)


def compare_evaluations(versions: Sequence[Version], actor: Actor) -> EvaluationComparison:
    """Each place where at least two of the versions were measured; every row is held against the first measured one.

    Raises: InvalidInputError for fewer than two versions, or too many.
    """
    if not 1 < len(versions) <= MOST_COMPARED:
        raise InvalidInputError(f"Name two to {MOST_COMPARED} versions to compare; {len(versions)} were named.")
    newest = _newest_by_place(versions, actor)
    places = []
    for rows in newest.values():
        measured = [rows[version.pk] for version in versions if version.pk in rows]
        if len(measured) > 1:
            places.append(_place(versions, rows, measured[0]))
    return EvaluationComparison(
        versions=[_name(version) for version in versions],
        places=sorted(places, key=lambda place: (place.dataset, place.split)),
    )


def _newest_by_place(versions: Sequence[Version], actor: Actor) -> dict[tuple[int, str], dict[int, Evaluation]]:
    """By dataset version and split: of each version the newest evaluation, with its resamples. Two queries."""
    rows = _visible(actor).filter(version__in=versions).order_by("-created_at", "-pk")
    found: dict[tuple[int, str], dict[int, Evaluation]] = {}
    for row in with_resamples(rows)[:_LOOKED_AT]:
        found.setdefault((row.dataset_id, row.split), {}).setdefault(row.version_id, row)
    return found


def with_resamples(rows: QuerySet[Evaluation]) -> QuerySet[Evaluation]:
    """Each with what `paired` needs of its record, and no more; one query for all."""
    return rows.prefetch_related(Prefetch("record", queryset=EvaluationRecord.objects.only("pk", "replicates")))


def _place(versions: Sequence[Version], rows: dict[int, Evaluation], first: Evaluation) -> ComparedPlace:
    compared = []
    for version in versions:
        row = rows.get(version.pk)
        compared.append(
            ComparedEvaluation(
                version=_name(version),
                evaluation=view_of(row) if row else None,
                differences=differences_of(paired(first), paired(row)) if row and row is not first else [],
            )
        )
    return ComparedPlace(dataset=_name(first.dataset), split=first.split, rows=compared)


def paired(row: Evaluation) -> Paired:
    """What `differences_of` asks for; a query, unless the row came with its record."""
    record: EvaluationRecord | None = getattr(row, "record", None)
    kept = record.replicates if record is not None else {}
    return Paired(row.metrics, Replicates.model_validate(kept) if kept else Replicates(pictures=""))


def _visible(actor: Actor) -> QuerySet[Evaluation]:
    rows = Evaluation.objects.filter(dataset__repository__in=visible_repositories(actor).values("pk"))
    return rows.select_related("dataset__repository__team", "version__repository__team")


def _samples(evaluation: Evaluation) -> list[SampleView]:
    rows = EvaluationSample.objects.filter(evaluation=evaluation).defer("picture").order_by("rank")
    home = f"{_home(evaluation)}/samples"
    return [
        SampleView(path=row.path, truth=row.truth, answer=row.answer, cost=row.cost, picture=f"{home}/{row.rank}")
        for row in rows
    ]


def _home(evaluation: Evaluation) -> str:
    version = evaluation.version
    return f"{version.repository.page}/versions/{version.label}/evaluations/{evaluation.pk}"


def _fields(row: Evaluation) -> dict[str, object]:
    return {
        "id": row.pk,
        "dataset": _name(row.dataset),
        "split": row.split,
        "runtime": row.runtime,
        "task": row.task,
        "pictures": row.pictures,
        "metrics": row.metrics,
        "intervals": row.intervals,
        "environment": row.environment,
        "job": str(row.job) if row.job else None,
        "created_at": row.created_at,
    }


def _name(version: Version) -> str:
    return f"{version.repository.full_name}@{version.label}"


def _picture(text: str) -> bytes:
    """Raises: InvalidInputError."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidInputError("A sample's picture is no base64.") from error
    if not data.startswith(_MAGIC):
        raise InvalidInputError("A sample's picture is a PNG or a JPEG.")
    return data
