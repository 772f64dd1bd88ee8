"""Dataset versions as the client trains from them: NDJSON, and pictures from signed addresses."""

from __future__ import annotations

import json
import struct
import zlib

import pytest

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.datasets.sizes import size_of_picture
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db


def png(width, height):
    """The smallest picture of this size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" * (width + 1) for _ in range(height)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def exported(training, path):
    """The lines that the client reads."""
    asked = training.ask(f"datasets/{path}/export")
    assert asked.status_code == 302, asked.content
    response = training.client.get(asked.headers["Location"].removeprefix("http://testserver"))
    assert response.status_code == 200
    return [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]


def fetch(training, address):
    response = training.client.get(address.removeprefix("http://testserver"))
    return response.status_code, b"".join(response.streaming_content) if response.streaming else response.content


@pytest.fixture
def datasets(owner, team):
    """Makes a dataset of files."""

    def make(files, name="shapes"):
        repository = make_repository(team, owner, name, RepositoryKind.DATASET)
        return commit_files(
            repository, owner, {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        )

    return make


def test_folders_of_classes_are_classification(training, owner, team):
    version = picture_dataset(make_repository(team, owner, "cats", RepositoryKind.DATASET), owner, count=2)
    head, *pictures = exported(training, f"{team}/cats")
    assert (head["type"], head["task"], head["class_names"]) == ("dataset", "classify", {"0": "a", "1": "b"})
    assert head["version"] == version.label
    assert len(pictures) == 8
    assert {picture["split"] for picture in pictures} == {"train", "val"}
    first = pictures[0]
    assert (first["file"], first["annotations"]) == ("0.png", {"classification": [0]})
    assert fetch(training, first["url"]) == (200, b"traina0")


YOLO = {
    "data.yaml": "names: [cat, dog]",
    "images/train/1.png": png(4, 4),
    "labels/train/1.txt": "1 0.5 0.5 0.5 0.25\n0 0.195 0.195 0.4 0.4",
    "images/train/more/1.png": png(4, 2),
    "images/val/2.png": png(4, 4),
    "labels/val/2.txt": "0 0.5 0.5 1 1",
}


def test_yolo_is_detection_and_boxes_end_at_the_picture(training, team, datasets):
    datasets(YOLO)
    head, *pictures = exported(training, f"{team}/shapes")
    assert (head["task"], head["class_names"]) == ("detect", {"0": "cat", "1": "dog"})
    by_file = {(picture["split"], picture["file"]): picture["annotations"]["boxes"] for picture in pictures}
    assert by_file == {
        ("train", "1.png"): [[1, 0.5, 0.5, 0.5, 0.25], [0, 0.1975, 0.1975, 0.395, 0.395]],
        ("train", "1-2.png"): [],
        ("val", "2.png"): [[0, 0.5, 0.5, 1.0, 1.0]],
    }


def test_coco_is_detection(training, team, datasets):
    described = {
        "images": [{"id": 7, "file_name": "1.png", "width": 40, "height": 20}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 5, 20, 10]},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 20], "iscrowd": 1},
        ],
    }
    text = json.dumps(described)
    folders = {f"{split}/_annotations.coco.json": text for split in ("train", "valid")}
    datasets(folders | {f"{split}/1.png": png(40, 20) for split in ("train", "valid")})
    _, *pictures = exported(training, f"{team}/shapes")
    assert [picture["annotations"]["boxes"] for picture in pictures] == [[[0, 0.5, 0.5, 0.5, 0.5]]] * 2


def test_boxes_in_pixels_are_measured_by_the_pictures_own_size(training, team, datasets):
    line = json.dumps({"file_name": "1.png", "objects": {"bbox": [[0, 0, 20, 10]], "category": ["cat"]}})
    datasets(
        {f"{split}/metadata.jsonl": line for split in ("train", "validation")}
        | {f"{split}/1.png": png(40, 20) for split in ("train", "validation")}
    )
    _, *pictures = exported(training, f"{team}/shapes")
    assert pictures[0]["annotations"]["boxes"] == [[0, 0.25, 0.25, 0.5, 0.5]]


def test_a_version_is_named_by_its_revision(training, team, owner, datasets):
    first = datasets(YOLO)
    commit_files(first.repository, owner, {"images/train/9.png": png(2, 2)})
    assert len(exported(training, f"{team}/shapes")) == 5
    assert len(exported(training, f"{team}/shapes@v1")) == 4
    assert training.ask(f"datasets/{team}/shapes@v9/export").status_code == 404


def test_a_training_gets_the_version_that_it_was_pinned_to(training, team, owner, datasets):
    first = datasets(YOLO)
    training.start(data=f"ul://{team}/datasets/shapes")
    commit_files(first.repository, owner, {"images/train/9.png": png(2, 2)})
    assert exported(training, f"{team}/shapes")[0]["version"] == "v1"
    assert training.run.spec["datasets"] == [f"{team}/shapes@v1"]
    training.epoch(1)
    assert exported(training, f"{team}/shapes")[0]["version"] == "v2"


def test_the_same_version_has_the_same_addresses_but_for_the_ticket(training, team, datasets):
    datasets(YOLO)
    twice = [[line.get("url", "").partition("?")[0] for line in exported(training, f"{team}/shapes")] for _ in range(2)]
    assert twice[0] == twice[1]


def test_what_cannot_be_trained_on_is_refused(training, team, datasets):
    datasets({"README.md": "nothing"})
    assert training.ask(f"datasets/{team}/shapes/export").status_code == 400


def test_strangers_and_changed_tickets_get_nothing(training, stranger, team, datasets):
    datasets(YOLO)
    assert stranger.ask(f"datasets/{team}/shapes/export").status_code == 404
    address = exported(training, f"{team}/shapes")[1]["url"]
    assert fetch(training, address[:-3])[0] == 403
    assert fetch(training, address.replace("/v1/", "/v2/"))[0] == 403
    stranger.token = "sy_nothing"
    assert stranger.ask(f"datasets/{team}/shapes/export").status_code == 401


def test_a_public_dataset_goes_to_everybody_with_a_token(training, client, owner, team):
    repository = make_repository(team, owner, "open", RepositoryKind.DATASET, public=True)
    picture_dataset(repository, owner)
    training.token = token_for(make_user())
    assert training.ask(f"datasets/{team}/open/export").status_code == 302


def jpeg(width, height):
    note = b"\xff\xe1\x00\x08Exif\0\0"
    return b"\xff\xd8" + note + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + b"\0" * 9


PICTURES = {
    "png": png(30, 20),
    "jpeg": jpeg(30, 20),
    "bmp": b"BM" + b"\0" * 16 + struct.pack("<ii", 30, -20),
    "webp, lossy": b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 10 + struct.pack("<HH", 30, 20),
    "webp, lossless": b"RIFF\0\0\0\0WEBPVP8L" + b"\0\0\0\0\x2f" + struct.pack("<I", 29 | 19 << 14),
    "webp, extended": b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + b"\x1d\0\0\x13\0\0",
}


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES)
def test_the_size_of_a_picture_is_read_from_its_beginning(data):
    assert size_of_picture(data) == (30, 20)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xe1\xff\xff", png(3, 3)[:17], b"BM" + b"\0" * 40])
def test_what_says_no_size_has_none(data):
    assert size_of_picture(data) is None
