"""Reading a dataset's layout: ImageFolder, `<split>/<label>/<file>`.

A dataset without a `validation` split is as unusable for a job as one with a single class: nothing that is
trained on it could be measured.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from steelyard_contracts.errors import DatasetUnusableError
from steelyard_platform.datasets.models import DatasetSummary
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Version

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
TRAIN, VALIDATION = "train", "validation"
_MIN_CLASSES = 2
_DEPTH = 3
_LAYOUT = "Lay images out as train/<label>/<file> and validation/<label>/<file>."

Splits = dict[str, dict[str, int]]


def summary_of(version: Version) -> Splits:
    """The number of images by split and label; read once for each version, then kept."""
    known = DatasetSummary.objects.filter(version=version).first()
    if known is None:
        splits = count_images(tree.entries_at(version).values_list("path", flat=True).iterator(chunk_size=5000))
        known, _ = DatasetSummary.objects.get_or_create(version=version, defaults={"splits": splits})
    return known.splits  # type: ignore[no-any-return]


def count_images(paths: Iterable[str]) -> Splits:
    """Images in ImageFolder layout, by split and label. Other files do not count."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for path in paths:
        parts = path.split("/")
        if len(parts) == _DEPTH and path.lower().endswith(IMAGE_SUFFIXES):
            counts[parts[0]][parts[1]] += 1
    return {split: dict(sorted(labels.items())) for split, labels in sorted(counts.items())}


def check_classification(splits: Splits, name: str, needs: Iterable[str] = (TRAIN, VALIDATION)) -> None:
    """Raises: DatasetUnusableError, one sentence for each reason."""
    if not splits:
        raise DatasetUnusableError(f"The dataset {name} holds no images in classes. {_LAYOUT}", dataset=name)
    for split in needs:
        if split not in splits:
            found = ", ".join(splits)
            raise DatasetUnusableError(
                f"The dataset {name} has no {split} split, only: {found}. {_LAYOUT}", dataset=name
            )
        if len(splits[split]) < _MIN_CLASSES:
            only = next(iter(splits[split]))
            raise DatasetUnusableError(
                f"The {split} split of {name} has one class, {only!r}; a classifier needs at least two.",
                dataset=name,
            )
    if TRAIN in splits and VALIDATION in splits and (unknown := splits[VALIDATION].keys() - splits[TRAIN].keys()):
        labels = ", ".join(sorted(unknown))
        raise DatasetUnusableError(
            f"The validation split of {name} has labels that train lacks: {labels}.", dataset=name
        )
