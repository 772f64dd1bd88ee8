"""Layouts are told by paths; annotations are read alike, and what cannot be meant is named."""

from __future__ import annotations

import pytest

from steelyard_contracts.datasets import boxes
from steelyard_contracts.datasets.layouts import Census, Layout, find_picture, label_file_of, mask_of, split_of
from steelyard_contracts.errors import DatasetUnusableError


@pytest.mark.parametrize(
    ("paths", "layout"),
    [
        (["train/cat/1.jpg", "val/cat/2.jpg"], Layout.IMAGEFOLDER),
        (["annotations/instances_train2017.json", "train2017/1.jpg"], Layout.COCO),
        (["train/_annotations.coco.json", "train/1.jpg"], Layout.COCO),
        (["data.yaml", "images/train/1.jpg", "labels/train/1.txt"], Layout.YOLO),
        (["data.yaml", "train/images/1.jpg", "train/labels/1.txt"], Layout.YOLO),
        (["train/metadata.jsonl", "train/1.jpg"], Layout.METADATA),
        (["classes.txt", "train/images/1.jpg", "train/masks/1.png"], Layout.MASKS),
        (["README.md", "1.jpg"], None),
    ],
)
def test_a_layout_is_told_by_paths(paths, layout):
    assert Census.of(paths).layout is layout


@pytest.mark.parametrize(
    ("folder", "split"), [("val", "validation"), ("valid", "validation"), ("train2017", "train"), ("test", "test")]
)
def test_splits_have_one_name_however_they_are_spelled(folder, split):
    assert split_of(folder) == split


def test_pictures_are_found_from_their_annotations_and_back():
    census = Census.of(["annotations/instances_val2017.json", "val2017/a/1.jpg", "images/2.jpg"])
    assert find_picture(census, "annotations/instances_val2017.json", "a/1.jpg") == "val2017/a/1.jpg"
    assert find_picture(census, "annotations/instances_val2017.json", "2.jpg") == "images/2.jpg"
    assert find_picture(census, "annotations/instances_val2017.json", "../../etc/passwd") is None
    assert label_file_of("images/train/deep/1.jpg") == "labels/train/deep/1.txt"
    assert label_file_of("train/images/1.jpg") == "train/labels/1.txt"
    assert mask_of("train/images/1.jpeg") == "train/masks/1.png"


def test_every_format_gives_the_same_kind_of_box():
    _, coco = boxes.coco_box("a.json", {"image_id": 1, "category_id": 7, "bbox": [8, 16, 32, 32]}, {7: "cat"})
    [yolo] = boxes.yolo_boxes("a.txt", "0 0.375 0.5 0.5 0.5\n\n", ["cat"])
    name, [row] = boxes.metadata_row("m", '{"file_name": "1", "objects": {"bbox": [[8, 16, 32, 32]], "category": [0]}}',
                                     ["cat"])  # fmt: skip
    assert (coco.label, coco.left, coco.top, coco.right, coco.bottom) == ("cat", 8, 16, 40, 48)
    assert row == coco
    assert name == "1"
    assert yolo.is_relative
    assert (yolo.left * 64, yolo.top * 64, yolo.right * 64, yolo.bottom * 64) == (8, 16, 40, 48)
    [outline] = boxes.yolo_boxes("a.txt", "0 0.1 0.2 0.5 0.2 0.5 0.9", ["cat"])
    assert (outline.left, outline.top, outline.right, outline.bottom) == (0.1, 0.2, 0.5, 0.9)


def test_a_box_may_reach_out_by_rounding_and_not_further():
    assert not boxes.Box("cat", -0.5, 0, 64.9, 64).is_outside(64, 64)
    assert boxes.Box("cat", 0, 0, 66, 64).is_outside(64, 64)
    assert boxes.Box("cat", 0, 0, 1.2, 1, is_relative=True).is_outside(1, 1)
    assert boxes.Box("cat", 3, 3, 3, 9).is_empty


@pytest.mark.parametrize(
    ("read", "sentence"),
    [
        (lambda: boxes.yolo_boxes("a.txt", "0 1 2 3", ["cat"]), "a.txt, line 1: expected 'class x y width height'"),
        (lambda: boxes.yolo_boxes("a.txt", "4 .5 .5 1 1", ["cat"]), "a.txt, line 1: the class 4 is none of the 1"),
        (lambda: boxes.yolo_labels("data.yaml", {"names": {0: "a", 2: "b"}}), "data.yaml needs 'names'"),
        (lambda: boxes.class_names("classes.json", "{"), "classes.json needs 'names'"),
        (lambda: boxes.class_names("classes.txt", "\n"), "classes.txt needs a line for each class"),
        (lambda: boxes.metadata_row("m, line 3", "[]"), 'm, line 3: expected {"file_name"'),
        (
            lambda: boxes.metadata_row("m", '{"file_name": "1", "objects": {"bbox": [[1]], "category": ["a"]}}'),
            "m: a box is four numbers, [x, y, width, height]; this is [1].",
        ),
        (lambda: boxes.coco_picture("a.json", {"id": 1}), "an entry of 'images' needs id, file_name"),
        (lambda: boxes.coco_labels("a.json", ["cat"]), "an entry of 'categories' needs an id and a name"),
        (lambda: boxes.coco_box("a.json", {"id": 1}, {}), "an entry of 'annotations' needs image_id"),
        (
            lambda: boxes.coco_box("a.json", {"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}, {1: "cat"}),
            "an annotation has the category_id 2, which 'categories' lacks",
        ),
        (
            lambda: boxes.coco_box("a.json", {"image_id": 1, "category_id": 1, "bbox": "nonsense"}, {1: "cat"}),
            "a box is four numbers",
        ),
    ],
)
def test_what_cannot_be_meant_is_named(read, sentence):
    with pytest.raises(DatasetUnusableError) as caught:
        read()
    assert sentence in str(caught.value)
