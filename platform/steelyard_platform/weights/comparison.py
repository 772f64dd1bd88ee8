"""Two versions' weights held against each other, from what their inspections found; the measures are kept by digests.

comparison_of(left, right)      what differs; the measures that are known
unmeasured(left, right)         the tensors that a worker has to read
record_changes(…)               a worker has
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.weights import (
    ChangedTensor,
    CompareView,
    Difference,
    FileChanges,
    InspectionState,
    Measures,
    TensorChange,
    TensorPair,
    TensorPlace,
)
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.models import Version
from steelyard_platform.storage.batches import SIZE, batches
from steelyard_platform.weights.differences import (
    Fate,
    Pair,
    Pairs,
    Placed,
    module_changes,
    pair_tensors,
    summary_of,
)
from steelyard_platform.weights.inspection import File, Model, files_of, main_model, models_in, outlines_of
from steelyard_platform.weights.models import TensorMeasure
from steelyard_platform.weights.modules import Outline

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`missing` are the pairs that a worker can measure and has not."""

    left: Version
    right: Version
    pairs: Pairs
    measures: dict[str, Measures]
    missing: list[Pair]
    is_inspected: bool

    def view(self, state: InspectionState) -> CompareView:
        """Of the tensors; the files are looked at elsewhere."""
        modules = module_changes(self.pairs, self.measures)
        same_place = self.left.repository_id == self.right.repository_id
        return CompareView(
            state=state,
            left=self.left.label if same_place else _full(self.left),
            right=self.right.label if same_place else _full(self.right),
            summary=summary_of(modules),
            changed=[
                ChangedTensor(name=pair.name, **self.measures.get(pair.name, Measures()).model_dump())
                for pair in self.pairs.changed
            ],
            added=self.pairs.named(Fate.ADDED),
            removed=self.pairs.named(Fate.REMOVED),
            reshaped=self.pairs.named(Fate.RESHAPED),
            cast=self.pairs.named(Fate.CAST),
            unchanged_count=len(self.pairs.named(Fate.UNCHANGED)),
            differences=[
                Difference(name=pair.name, left=_written(pair.left.outline), right=_written(pair.right.outline))
                for pair in self.pairs.differing
            ],
            modules=modules,
            files=FileChanges(added=[], removed=[], changed=[]),
            texts=[],
        )


def compare(left: Version, right: Version) -> Comparison:
    """The main model of the left version with its counterpart in the right one; a few queries, whatever they hold."""
    ours, theirs = files_of(left), files_of(right)
    model = main_model(models_in(ours))
    other = main_model(models_in(theirs), like=model)
    outlines = outlines_of([file for one in (model, other) if one for file in one.files])
    pairs = pair_tensors(_placed(model, outlines), _placed(other, outlines))
    known = _known(pair.key for pair in pairs.changed)
    measures = {pair.name: known[pair.key] for pair in pairs.changed if pair.key in known}
    missing = [pair for pair in pairs.changed if pair.is_measurable and pair.key not in known]
    return Comparison(left, right, pairs, measures, missing, _are_inspected(ours) and _are_inspected(theirs))


def unmeasured(left: Version, right: Version) -> list[TensorPair]:
    """Each pair of contents once, in the order in which they lie in the right version."""
    found: dict[Key, TensorPair] = {}
    for pair in compare(left, right).missing:
        assert pair.key is not None  # noqa: S101 - or it could not be measured
        found.setdefault(
            pair.key,
            TensorPair(
                name=pair.name,
                dtype=pair.left.outline.dtype,
                left=_place(pair.left, pair.key[0]),
                right=_place(pair.right, pair.key[1]),
            ),
        )
    return sorted(found.values(), key=lambda pair: (pair.right.path, pair.right.start))


@transaction.atomic
def record_changes(*, left: Version, right: Version, changes: Sequence[TensorChange], actor: Actor) -> None:
    """Keeps measures of tensors that differ between the two. Twice is the same as once.

    Raises: InvalidInputError for a pair of digests that do not stand against each other there.
    """
    asked = {pair.key for pair in compare(left, right).pairs.changed}
    for change in changes:
        if (change.left, change.right, change.dtype) not in asked:
            raise InvalidInputError("These digests are not of a tensor that differs between the two versions.")
    rows = (TensorMeasure(**change.model_dump()) for change in changes)
    TensorMeasure.objects.bulk_create(rows, batch_size=SIZE, ignore_conflicts=True)
    name = left.repository.full_name
    audit.record(actor, "report comparison", name, left=left.label, right=_full(right), tensors=len(changes))


def _known(keys: Iterable[Key | None]) -> dict[Key | None, Measures]:
    wanted = {key for key in keys if key is not None}
    found: dict[Key | None, Measures] = {}
    for batch in batches(sorted({left for left, _, _ in wanted})):
        for row in TensorMeasure.objects.filter(left__in=batch):
            if (key := (row.left, row.right, row.dtype)) in wanted:
                found[key] = Measures(
                    relative_l2=row.relative_l2,
                    cosine_similarity=row.cosine_similarity,
                    max_abs_change=row.max_abs_change,
                    changed_share=row.changed_share,
                )
    return found


def _placed(model: Model | None, outlines: dict[str, list[Outline]]) -> dict[str, Placed]:
    files = model.files if model else []
    return {
        outline.name: Placed(outline, file.path, file.sha256)
        for file in files
        for outline in outlines.get(file.sha256, ())
    }


def _are_inspected(files: Sequence[File]) -> bool:
    return all(file.report is not None for file in files)


def _place(placed: Placed, digest: str) -> TensorPlace:
    return TensorPlace(path=placed.path, start=placed.outline.start or 0, size=placed.outline.size, digest=digest)


def _written(outline: Outline) -> str:
    return f"{outline.dtype} {' by '.join(map(str, outline.shape)) or 'one number'}"


def _full(version: Version) -> str:
    return f"{version.repository.full_name}@{version.label}"
