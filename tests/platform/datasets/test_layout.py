"""What a dataset holds, and the sentence for one that no job can use."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import DatasetUnusableError
from steelyard_platform.datasets.services import check_classification, count_images


def splits(*paths):
    return count_images(paths)


def test_pictures_are_counted_by_split_and_label():
    found = splits(
        "train/a/1.png", "train/a/2.JPG", "train/b/1.png", "validation/a/1.png", "README.md", "train/a/x.txt"
    )
    assert found == {"train": {"a": 2, "b": 1}, "validation": {"a": 1}}


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (["README.md"], "The dataset lab/d holds no images in classes. Lay images out as train/<label>/<file>"),
        (["train/a/1.png", "train/b/1.png"], "has no validation split, only: train."),
        (["train/a/1.png", "validation/a/1.png"], "The train split of lab/d has one class, 'a'; a classifier needs"),
        (
            ["train/a/1.png", "train/b/1.png", "validation/a/1.png", "validation/c/1.png"],
            "The validation split of lab/d has labels that train lacks: c.",
        ),
    ],
)
def test_a_dataset_that_cannot_be_used_is_refused_with_its_reason(paths, sentence):
    with pytest.raises(DatasetUnusableError) as caught:
        check_classification(splits(*paths), "lab/d")
    assert sentence in str(caught.value)
