"""What a dataset holds, in every layout, and the sentence for one that no job can use."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.errors import DatasetUnusableError, UnavailableError
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import Task
from steelyard_platform.datasets import services
from steelyard_platform.datasets.checks import check_for_task
from steelyard_platform.datasets.services import existing_summary, summary_of
from steelyard_platform.datasets.tasks import count_annotations
from tests.support.factories import commit_files, make_repository, make_team, make_user, picture_dataset
from tests.support.vision_datasets import (
    coco_json,
    draw_splits,
    files_of,
    write_coco,
    write_masks,
    write_metadata,
    write_yolo,
)

pytestmark = pytest.mark.django_db

SPLITS = draw_splits({"train": 6, "val": 3}, size=(24, 16))
WRITERS = {"coco": write_coco, "yolo": write_yolo, "metadata": write_metadata}


@pytest.fixture
def owner():
    return make_user()


@pytest.fixture
def dataset(owner):
    return make_repository(make_team(owner, "lab"), owner, "shapes", RepositoryKind.DATASET)


def boxes_in(pictures):
    labels = [box[0] for drawn in pictures for box in drawn.boxes]
    return {label: labels.count(label) for label in sorted(set(labels))}


def refusal(version, task=Task.DETECTION):
    with pytest.raises(DatasetUnusableError) as caught:
        check_for_task(existing_summary(version), "lab/shapes", task)
    return str(caught.value)


@pytest.mark.parametrize("layout", WRITERS)
def test_boxes_are_counted_by_split_and_label_and_once(dataset, owner, tmp_path, layout, django_assert_max_num_queries):
    version = commit_files(dataset, owner, files_of(WRITERS[layout](tmp_path, SPLITS)))
    summary = existing_summary(version)
    assert summary.layout == layout
    assert summary.tasks == [Task.DETECTION]
    assert sorted(summary.labels) == ["disc", "square"]
    assert summary.pictures == {"train": 6, "validation": 3}
    assert summary.splits == {"train": boxes_in(SPLITS["train"]), "validation": boxes_in(SPLITS["val"])}
    assert summary.faults == []
    check_for_task(summary, "lab/shapes", Task.DETECTION)
    with django_assert_max_num_queries(1):
        assert summary_of(version) == summary


def test_masks_and_polygons_are_for_segmentation(dataset, owner, tmp_path):
    masks = existing_summary(commit_files(dataset, owner, files_of(write_masks(tmp_path / "masks", SPLITS))))
    assert (masks.layout, masks.tasks) == ("masks", [Task.SEGMENTATION])
    assert masks.labels == ["background", "disc", "square"]
    assert masks.pictures == {"train": 6, "validation": 3}
    check_for_task(masks, "lab/shapes", Task.SEGMENTATION)
    other = make_repository(dataset.team, owner, "polygons", RepositoryKind.DATASET)
    files = files_of(write_coco(tmp_path / "coco", SPLITS, polygons=True))
    polygons = existing_summary(commit_files(other, owner, files))
    assert polygons.tasks == [Task.DETECTION, Task.SEGMENTATION]
    check_for_task(polygons, "lab/shapes", Task.SEGMENTATION)


def test_a_dataset_that_does_not_fit_the_task_is_refused_with_its_reason(dataset, owner):
    classes = picture_dataset(dataset, owner)
    check_for_task(existing_summary(classes), "lab/shapes", Task.CLASSIFICATION)
    assert "holds no pictures with boxes, which object-detection needs. It lies as imagefolder, for" in refusal(classes)
    other = make_repository(dataset.team, owner, "nameless", RepositoryKind.DATASET)
    nameless = commit_files(other, owner, {"train/images/1.png": b"picture", "train/masks/1.png": b"mask"})
    assert "Its masks need a classes.json beside them" in refusal(nameless, Task.SEGMENTATION)


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (["README.md"], "The dataset lab/shapes holds no images in classes, which image-classification needs. Lay"),
        (["train/a/1.png", "train/b/1.png"], "has no validation split, only: train."),
        (["train/a/1.png", "val/a/1.png"], "The train split of lab/shapes has one class, 'a'; a classifier needs"),
        (
            ["train/a/1.png", "train/b/1.png", "validation/a/1.png", "validation/c/1.png"],
            "The validation split of lab/shapes has labels that train lacks: c.",
        ),
    ],
)
def test_classes_that_cannot_be_used_are_refused_with_the_reason(dataset, owner, paths, sentence):
    version = commit_files(dataset, owner, {path: path.encode() for path in paths})
    assert sentence in refusal(version, Task.CLASSIFICATION)


def without_picture(files):
    del files["train/0.png"]


def outside(files):
    content = json.loads(files["annotations/instances_train.json"])
    content["annotations"][0]["bbox"] = [20, 0, 20, 8]
    files["annotations/instances_train.json"] = json.dumps(content).encode()


def unknown_label(files):
    content = coco_json(SPLITS["val"])
    content["categories"] = [{"id": 1, "name": "moon"}, {"id": 2, "name": "square"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 1
    files["annotations/instances_val.json"] = json.dumps(content).encode()


def no_json(files):
    files["annotations/instances_train.json"] = b'{"images": ['


def no_boxes(files):
    content = coco_json(SPLITS["val"]) | {"annotations": []}
    files["annotations/instances_val.json"] = json.dumps(content).encode()


def no_validation(files):
    del files["annotations/instances_val.json"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without_picture, "annotations/instances_train.json names the picture 0.png, which the dataset does not hold"),
        (outside, "reaches outside its picture, from (20, 0) to (40, 8) px; the picture has 24 x 16"),
        (unknown_label, "The validation split of lab/shapes has labels that train lacks: moon."),
        (no_json, "annotations/instances_train.json is no JSON"),
        (no_boxes, "The validation split of lab/shapes has no box in any picture."),
        (no_validation, "The dataset lab/shapes has no validation split, only: train."),
    ],
)
def test_boxes_that_cannot_be_used_are_refused_with_the_reason(dataset, owner, tmp_path, spoil, sentence):
    files = files_of(write_coco(tmp_path, SPLITS))
    spoil(files)
    assert sentence in refusal(commit_files(dataset, owner, files))


def test_faults_of_texts_are_named_and_counted(dataset, owner, tmp_path):
    files = files_of(write_yolo(tmp_path, SPLITS))
    files["labels/train/0.txt"] = b"0 0.9 0.9 0.6 0.6\n"
    files["labels/train/1.txt"] = b"7 0.5 0.5 0.1 0.1\n"
    files["labels/train/99.txt"] = b""
    said = refusal(commit_files(dataset, owner, files))
    assert "labels/train/99.txt names the picture of the same name" in said
    assert "(and 2 more such faults)" in said


def test_a_picture_without_its_mask_is_named(dataset, owner, tmp_path):
    files = files_of(write_masks(tmp_path, SPLITS))
    del files["train/masks/2.png"]
    said = refusal(commit_files(dataset, owner, files), Task.SEGMENTATION)
    assert "The picture train/images/2.png has no mask; train/masks/2.png was expected" in said


def test_segmentation_needs_two_classes(dataset, owner, tmp_path):
    files = files_of(write_masks(tmp_path, SPLITS)) | {"classes.json": b'["background"]'}
    said = refusal(commit_files(dataset, owner, files), Task.SEGMENTATION)
    assert "has one class, 'background'; segmentation needs at least two" in said


def test_large_annotations_are_left_to_a_light_job(dataset, owner, tmp_path, monkeypatch):
    version = commit_files(dataset, owner, files_of(write_coco(tmp_path, SPLITS)))
    sent = []
    monkeypatch.setattr(services, "_BYTES_AT_ONCE", 10)
    monkeypatch.setattr("celery.Celery.send_task", lambda app, name, args, **options: sent.append((name, *args)))
    with pytest.raises(UnavailableError, match="are still being read; try again in a minute"):
        existing_summary(version)
    assert sent == [("steelyard.count_dataset", version.pk)]
    count_annotations(version.pk)
    assert existing_summary(version).pictures == {"train": 6, "validation": 3}
