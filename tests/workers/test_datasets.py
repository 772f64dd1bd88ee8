"""Datasets of every layout give the same tensors, and what is wrong with one is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.training import Task
from steelyard_workers.datasets import open_split
from steelyard_workers.datasets.framing import Frames, Framing, draw_frames, frame_boxes, frame_masks, frame_pictures
from tests.support.vision_datasets import (
    LABELS,
    draw_splits,
    save_picture,
    write_coco,
    write_json,
    write_masks,
    write_metadata,
    write_text,
    write_yolo,
)

SPLITS = draw_splits({"train": 3, "valid": 2}, size=(48, 32))
WRITERS = {"coco": write_coco, "yolo": write_yolo, "metadata": write_metadata}


@pytest.mark.parametrize("layout", WRITERS)
def test_boxes_are_the_same_in_every_layout(tmp_path, layout):
    found = open_split(WRITERS[layout](tmp_path, SPLITS), "validation", Task.DETECTION, size=32, labels=LABELS)
    assert len(found) == 2
    assert found.sizes.tolist() == [[48, 32]] * 2
    assert found.pictures.pixels(torch.tensor([1, 0])).shape == (2, 3, 32, 32)
    for index, drawn in enumerate(SPLITS["valid"]):
        [(label, x, y, width, height)] = drawn.boxes
        assert found.boxes_in_pixels(index)[0].tolist() == pytest.approx([x, y, x + width, y + height], abs=1e-3)
        assert [found.labels[number] for number in found.targets[index]] == [label]


def test_a_picture_without_boxes_is_kept_and_empty_and_crowded_boxes_are_not(tmp_path):
    write_coco(tmp_path, SPLITS)
    path = tmp_path / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"] = [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [3, 3, 0, 5]},
        {"id": 2, "image_id": 0, "category_id": 1, "bbox": [3, 3, 5, 5], "iscrowd": 1},
    ]
    write_json(path, content)
    found = open_split(tmp_path, "train", Task.DETECTION, size=16)
    assert len(found) == 3
    assert [len(boxes) for boxes in found.boxes] == [0, 0, 0]
    assert found.left_out == 2


def test_masks_keep_their_numbers_and_polygons_are_drawn(tmp_path):
    masks = open_split(write_masks(tmp_path / "masks", SPLITS), "train", Task.SEGMENTATION, size=32)
    assert masks.labels == ["background", *LABELS]
    small = np.asarray(Image.fromarray(SPLITS["train"][0].mask).resize((32, 32), Image.Resampling.NEAREST))
    assert torch.equal(masks.masks(torch.tensor([0]))[0], torch.from_numpy(small.copy()))
    coco = write_coco(tmp_path / "coco", SPLITS, polygons=True)
    drawn = open_split(coco, "train", Task.SEGMENTATION, size=48)
    assert drawn.labels == ["background", *LABELS]
    [(label, *_, width, height)] = SPLITS["train"][0].boxes
    mask = drawn.masks(torch.tensor([0]))[0]
    assert set(mask.unique().tolist()) == {0, LABELS.index(label) + 1}
    assert float((mask > 0).float().mean()) == pytest.approx(width * height / (48 * 32), abs=0.05)


def picture_missing(root):
    (root / "train/1.png").unlink()


def picture_broken(root):
    write_text(root / "train/1.png", "no picture")


def box_outside(root):
    row = {"file_name": "1.png", "objects": {"bbox": [[40, 0, 20, 8]], "category": ["disc"]}}
    write_text(root / "train/metadata.jsonl", json.dumps(row))


def label_unknown(root):
    row = {"file_name": "1.png", "objects": {"bbox": [[4, 0, 20, 8]], "category": ["moon"]}}
    write_text(root / "train/metadata.jsonl", json.dumps(row))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (picture_missing, "train/metadata.jsonl, line 2 names the picture 1.png, which the dataset does not hold"),
        (picture_broken, "The picture train/1.png cannot be read"),
        (box_outside, "train/metadata.jsonl, line 1: the box of 'disc' reaches outside its picture"),
        (label_unknown, "train/metadata.jsonl, line 1 has the label 'moon', which is not known here. Known are: disc"),
    ],
)
def test_bad_pictures_and_boxes_are_named(tmp_path, spoil, sentence):
    spoil(write_metadata(tmp_path, SPLITS))
    with pytest.raises(DatasetUnusableError) as caught:
        open_split(tmp_path, "train", Task.DETECTION, size=16, labels=LABELS)
    assert sentence in str(caught.value)


def mask_missing(root):
    (root / "train/masks/1.png").unlink()


def mask_of_another_size(root):
    save_picture(root / "train/masks/1.png", np.zeros((8, 8), dtype=np.uint8))


def mask_with_a_strange_number(root):
    save_picture(root / "train/masks/1.png", np.full((32, 48), 9, dtype=np.uint8))


def mask_in_colour(root):
    save_picture(root / "train/masks/1.png", np.zeros((32, 48, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (mask_missing, "The picture train/images/1.png has no mask"),
        (mask_of_another_size, "The mask train/masks/1.png has 8 x 8 pixels; its picture has 48 x 32."),
        (mask_with_a_strange_number, "The mask train/masks/1.png has the value 9, which is no class: there are 3"),
        (mask_in_colour, "The mask train/masks/1.png is a colour picture (RGB)."),
    ],
)
def test_bad_masks_are_named(tmp_path, spoil, sentence):
    spoil(write_masks(tmp_path, SPLITS))
    with pytest.raises(DatasetUnusableError) as caught:
        open_split(tmp_path, "train", Task.SEGMENTATION, size=16)
    assert sentence in str(caught.value)


def test_masks_of_255_are_kept_as_what_is_not_looked_at(tmp_path):
    write_masks(tmp_path, SPLITS)
    save_picture(tmp_path / "train/masks/1.png", np.full((32, 48), 255, dtype=np.uint8))
    found = open_split(tmp_path, "train", Task.SEGMENTATION, size=16)
    assert found.masks(torch.tensor([1])).unique().tolist() == [255]


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path):
    write_yolo(tmp_path, SPLITS)
    with pytest.raises(DatasetUnusableError, match="The dataset has no test split, only: train, validation"):
        open_split(tmp_path, "test", Task.DETECTION, size=16)


def test_what_does_not_fit_in_memory_is_decoded_as_needed(tmp_path, monkeypatch):
    write_masks(tmp_path, SPLITS)
    kept = open_split(tmp_path, "train", Task.SEGMENTATION, size=16)
    for module in ("files", "segmentation"):
        monkeypatch.setattr(f"steelyard_workers.datasets.{module}.CACHE_BYTES", 0)
    streamed = open_split(tmp_path, "train", Task.SEGMENTATION, size=16)
    indices = torch.tensor([2, 0])
    assert torch.equal(kept.pictures.pixels(indices), streamed.pictures.pixels(indices))
    assert torch.equal(kept.masks(indices), streamed.masks(indices))


def shape_on_black(left, top, right, bottom):
    picture = torch.zeros(1, 1, 64, 64)
    picture[:, :, top:bottom, left:right] = 1
    return picture, torch.tensor([[left, top, right, bottom]]) / 64


def test_boxes_and_masks_move_with_their_pictures():
    picture, boxes = shape_on_black(16, 24, 36, 40)
    masks = (picture[:, 0] * 3).to(torch.uint8)
    frames = Frames(torch.tensor([[-0.8, 0.8]]), torch.tensor([[0.1, -0.2]]), torch.ones(1))
    moved, seen = frame_boxes(boxes, frames, 0)
    assert seen.tolist() == [True]
    rows, columns = torch.nonzero(frame_pictures(picture, frames)[0, 0] > 0.5, as_tuple=True)
    around = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert torch.allclose(moved[0] * 64, around.float(), atol=1.1)
    moved_masks = frame_masks(masks, frames, outside=255)
    assert set(moved_masks.unique().tolist()) - {255} == {0, 3}
    rows, columns = torch.nonzero(moved_masks[0] == 3, as_tuple=True)
    assert torch.allclose(moved[0, :2] * 64, torch.stack([columns.min(), rows.min()]).float(), atol=1.1)


def test_a_box_that_leaves_its_picture_is_dropped_and_what_lies_outside_is_not_looked_at():
    picture, boxes = shape_on_black(0, 0, 8, 8)
    frames = Frames(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.5, 0.0]]), torch.ones(1))
    assert frame_boxes(boxes, frames, 0)[1].tolist() == [False]
    assert 255 in frame_masks(picture[:, 0].to(torch.uint8), frames, outside=255)


def test_frames_repeat_with_their_seed():
    one, other = (draw_frames(8, torch.Generator().manual_seed(3), Framing()) for _ in range(2))
    assert torch.equal(one.zoom, other.zoom)
    assert (one.zoom[:, 0] < 0).any()
    assert (one.zoom[:, 0] > 0).any()
