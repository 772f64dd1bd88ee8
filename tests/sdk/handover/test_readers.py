"""Other tools' folders as sources of an import: what comes, with which dates, and what is said not to come."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime

import pytest

from steelyard.handover.archive import Archive
from steelyard.handover.layout import is_export, prepare
from steelyard.handover.opening import Options, open_source
from steelyard.handover.plain import PlainFolder, slug
from steelyard.handover.run_files import file_name
from steelyard.handover.source import LocalFile
from steelyard.handover.ultralytics import Ultralytics
from steelyard_contracts.errors import InvalidInputError, NotFoundError

THEN = 1_577_836_800  # 2020-01-01


def write(path, text="x", at=THEN):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC)


def contents(version, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return {path: file.fetch(scratch).read_text() for path, file in version.tree().items()}


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("My model (v2)", "My-model-v2"),
        ("--", "imported"),
        ("a..b", "a-b"),
        ("net.git", "net.git-1"),
        ("x" * 200, "x" * 96),
    ],
)
def test_whatever_a_model_was_called_it_gets_a_name(said, named):
    assert slug(said) == named


def test_a_plain_folder_is_one_version_of_the_day_of_its_newest_file(tmp_path):
    write(tmp_path / "my net" / "w.bin", "weights")
    write(tmp_path / "my net" / "sub" / "a.txt", "a", at=THEN + 60)
    write(tmp_path / "my net" / ".git" / "HEAD", at=THEN + 9999)
    (found,) = open_source(str(tmp_path / "my net"), Options()).repositories()
    (version,) = found.versions
    assert (found.ref.name, version.created_at) == ("my-net", datetime(2020, 1, 1, 0, 1, tzinfo=UTC))
    assert contents(version, tmp_path) == {"w.bin": "weights", "sub/a.txt": "a"}


def test_an_empty_folder_and_one_that_is_not_there_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(InvalidInputError, match="no files to import"):
        PlainFolder(tmp_path).repositories()
    with pytest.raises(InvalidInputError, match="does not exist"):
        open_source(str(tmp_path / "nowhere"), Options())
    with pytest.raises(InvalidInputError, match="behind hf:"):
        open_source("hf:", Options())


RESULTS = """epoch,      time, train/box_loss, metrics/mAP50(B)
1,  10.5, 2.25, nan
2,  20.0, 1.5,  0.5
"""


def test_a_training_of_ultralytics_is_a_run_with_its_weights(tmp_path):
    folder = tmp_path / "runs" / "detect" / "train2"
    write(folder / "args.yaml", "task: detect\nepochs: 2\nlr0: 0.01\n", at=THEN)
    write(folder / "results.csv", RESULTS, at=THEN + 20)
    write(folder / "weights" / "best.pt", "pt", at=THEN + 20)
    write(folder / "train_batch0.jpg")
    (found,) = open_source(str(folder), Options()).repositories()
    (run,), (version,) = found.runs, found.versions
    assert (run.name, run.state, run.config["lr0"]) == ("train2", "succeeded", 0.01)
    assert (run.started_at, run.finished_at) == (at(THEN), at(THEN + 20))
    points = [(point.name, point.step, point.value) for point in run.points()]
    assert ("train/box_loss", 1, 1.5) in points  # its tables count epochs from 1, a live run from 0
    assert {point.at for point in run.points()} == {THEN * 1000 + 10_500, THEN * 1000 + 20_000}
    assert [name for name, _, value in points if math.isnan(value)] == ["metrics/mAP50(B)"]
    assert sorted(contents(version, tmp_path)) == ["args.yaml", "results.csv", "weights/best.pt"]
    assert version.run == "train2"


def test_several_trainings_come_together_in_the_order_they_were_done(tmp_path):
    for number, name in enumerate(("train", "train3", "train2")):
        write(tmp_path / "detect" / name / "args.yaml", "epochs: 1\n", at=THEN + number)
        write(tmp_path / "detect" / name / "weights" / "last.pt", name, at=THEN + number)
    (found,) = Ultralytics(tmp_path / "detect").repositories()
    assert [version.label for version in found.versions] == ["train", "train3", "train2"]
    assert found.ref.name == "detect"


def test_an_ndjson_export_becomes_what_yolo_trains_from(tmp_path):
    lines = [
        {"type": "dataset", "task": "detect", "name": "Digits", "class_names": {"0": "zero", "1": "one"}},
        {"type": "image", "file": "a.jpg", "split": "train", "annotations": {"boxes": [[1, 0.5, 0.25, 0.125, 0.1]]}},
        {"type": "image", "file": "b.jpg", "split": "val", "annotations": {}},
    ]
    path = write(tmp_path / "digits.ndjson", "\n".join(map(json.dumps, lines)))
    write(tmp_path / "a.jpg", "picture a")
    write(tmp_path / "b.jpg", "picture b")
    (found,) = open_source(str(path), Options()).repositories()
    assert (str(found.ref), found.versions[0].created_at.timestamp()) == ("datasets:/nobody/Digits", THEN)
    files = contents(found.versions[0], tmp_path)
    assert files["labels/train/a.txt"] == "1 0.5 0.25 0.125 0.1\n"
    assert (files["labels/val/b.txt"], files["images/val/b.jpg"]) == ("", "picture b")
    assert files["data.yaml"] == "train: images/train\nval: images/val\nnames:\n  0: zero\n  1: one\n"


def test_an_ndjson_export_of_classes_becomes_a_folder_for_each(tmp_path):
    lines = [
        {"type": "dataset", "task": "classify", "name": "d", "class_names": {"0": "cat"}},
        {"type": "image", "file": "a.jpg", "split": "train", "annotations": {"classification": [0]}},
    ]
    path = write(tmp_path / "d.ndjson", "\n".join(map(json.dumps, lines)))
    write(tmp_path / "a.jpg")
    (found,) = Ultralytics(path).repositories()
    assert list(found.versions[0].tree()) == ["train/cat/a.jpg"]


@pytest.mark.parametrize("text", ["nonsense", '{"type": "image", "file": "a.jpg"}', "[1]"])
def test_what_is_no_export_of_a_dataset_is_said(tmp_path, text):
    with pytest.raises(InvalidInputError, match="d.ndjson"):
        Ultralytics(write(tmp_path / "d.ndjson", text)).repositories()


def test_artifacts_of_wandb_keep_their_numbers_one_higher(tmp_path):
    write(tmp_path / "artifacts" / "net:v1" / "w.bin", "second")
    write(tmp_path / "artifacts" / "net:v0" / "w.bin", "first")
    write(tmp_path / "artifacts" / "other-v3" / "w.bin", "windows")
    first, second = sorted(
        open_source(str(tmp_path / "artifacts"), Options()).repositories(), key=lambda one: one.ref.name
    )
    assert [(one.number, contents(one, tmp_path)["w.bin"]) for one in first.versions] == [(1, "first"), (2, "second")]
    assert [tag["name"] for tag in first.tags] == ["wandb-v0", "wandb-v1"]
    assert (second.ref.name, second.versions[0].number) == ("other", 4)


def wandb_run(tmp_path):
    folder = tmp_path / "shelf" / "wandb" / "run-20200101_000000-abc123"
    config = "_wandb:\n  value: {x: 1}\nlr:\n  desc: null\n  value: 0.1\nwandb_version: 1\n"
    write(folder / "files" / "config.yaml", config)
    summary = {"loss": 0.5, "_step": 9, "_timestamp": THEN + 60, "eval": {"acc": 0.75}, "bad": "NaN", "ok": True}
    write(folder / "files" / "wandb-summary.json", json.dumps(summary))
    metadata = {"startedAt": "2020-01-01T00:00:01Z", "username": "grace", "python": "3.11", "git": {"commit": "abc"}}
    write(folder / "files" / "wandb-metadata.json", json.dumps(metadata))
    write(folder / "files" / "output.log", "epoch 1\nepoch 2\n")
    write(folder / "run-abc123.wandb", "binary")
    return tmp_path / "shelf"


def test_a_folder_with_both_artifacts_and_runs_of_wandb_comes_whole(tmp_path):
    folder = wandb_run(tmp_path)
    write(folder / "artifacts" / "net:v0" / "w.bin", "first")
    found = {
        one.ref.name: (len(one.versions), len(one.runs)) for one in open_source(str(folder), Options()).repositories()
    }
    assert found == {"net": (1, 0), "shelf": (0, 1)}


def test_a_run_of_wandb_comes_as_far_as_its_files_can_be_read_and_the_rest_is_said(tmp_path):
    (found,) = open_source(str(wandb_run(tmp_path) / "wandb"), Options()).repositories()
    (run,) = found.runs
    assert (found.ref.name, run.name, run.author, run.config) == ("shelf", "abc123", "grace", {"lr": 0.1})
    assert (run.started_at, run.finished_at) == (at(THEN + 1), at(THEN + 60))
    points = {point.name: (point.step, point.value) for point in run.points()}
    assert points["loss"] == (9, 0.5)
    assert points["eval.acc"] == (9, 0.75)
    assert sorted(points) == ["bad", "eval.acc", "loss"]
    assert list(run.lines()) == ["epoch 1", "epoch 2"]
    assert "run-abc123.wandb" in found.faults[0]
    assert "not read" in found.faults[0]


def test_nothing_outside_of_what_somebody_sent_is_taken_along(tmp_path):
    write(tmp_path / "secret", "secret")
    lines = [
        {"type": "dataset", "task": "classify", "name": "d", "class_names": {"0": "cat"}},
        {"type": "image", "file": "../secret", "split": "train", "annotations": {"classification": [0]}},
    ]
    path = write(tmp_path / "sent" / "d.ndjson", "\n".join(map(json.dumps, lines)))
    (picture,) = Ultralytics(path).repositories()[0].versions[0].tree().values()
    with pytest.raises(NotFoundError, match="names no address"):
        picture.fetch(tmp_path)
    (tmp_path / "sent" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidInputError, match="leads out of"):
        LocalFile(tmp_path / "sent" / "link", within=tmp_path / "sent").fetch(tmp_path)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("exp 1/a", "exp 1%2Fa"), ("übung", "übung"), ("a:b", "a%3Ab"), ("50%", "50%25"), ("exp2", "exp2")],
)
def test_a_run_has_a_folder_that_people_recognise(name, folder):
    assert file_name(name) == folder


def test_no_name_of_a_run_leads_elsewhere_or_is_too_long_for_a_disk():
    for name in (".", "..", "x" * 300, "é" * 200, "a\nb", "con."):
        assert len(file_name(name).encode()) <= 255
        assert not {"/", "\n"} & set(file_name(name))
        assert file_name(name).strip(".") == file_name(name)


def test_a_folder_that_holds_something_else_is_no_place_for_an_export(tmp_path):
    write(tmp_path / "holiday.jpg")
    with pytest.raises(InvalidInputError, match="holds something else"):
        prepare(tmp_path)
    prepare(tmp_path / "new" / "export")
    prepare(tmp_path / "new" / "export")
    assert is_export(tmp_path / "new" / "export")


def test_an_export_of_a_later_edition_asks_for_a_newer_program(tmp_path):
    write(tmp_path / "steelyard.json", json.dumps({"format": "steelyard-export", "edition": 99}))
    with pytest.raises(InvalidInputError, match="Install a newer one"):
        is_export(tmp_path)


def test_an_export_that_was_damaged_is_refused_with_its_line(tmp_path):
    prepare(tmp_path)
    home = tmp_path / "models" / "lab" / "net"
    write(home / "repository.json", json.dumps({"created_at": "2020-01-01T00:00:00Z"}))
    write(home / "versions.jsonl", '{"version": "v1"}\n')
    with pytest.raises(InvalidInputError, match="versions.jsonl has a line without branch"):
        Archive(tmp_path).repositories()
    line = {"version": "v1", "branch": "main", "title": "", "author": "a", "created_at": "2020-01-01T00:00:00Z"}
    write(home / "versions.jsonl", json.dumps(line))
    (found,) = Archive(tmp_path).repositories()
    with pytest.raises(InvalidInputError, match="the export broke off"):
        found.versions[0].tree()
    write(home / "versions" / "v1.sha256", f"{'0' * 64}  ../../../etc/passwd\n")
    with pytest.raises(InvalidInputError, match="leave its folder"):
        found.versions[0].tree()


def test_logged_models_come_in_the_order_in_which_they_were_made(tmp_path):
    home = tmp_path / "models" / "lab" / "net"
    for number in range(1, 12):
        (home / "logged-models" / str(number)).mkdir(parents=True)
        (home / "logged-models" / str(number) / "model.json").write_text(f'{{"name": "m{number}"}}')
    (home / "repository.json").write_text('{"created_at": "2020-01-01T00:00:00Z"}')
    (home / "versions.jsonl").write_text("")
    (repository,) = Archive(tmp_path).repositories()
    assert [one.name for one in repository.logged] == [f"m{number}" for number in range(1, 12)]
    (home / "logged-models" / "2" / "model.json").write_text('{"name": "m2", "outputs": ["trial"]}')
    with pytest.raises(InvalidInputError, match=r"model.json is no record of a logged model"):
        Archive(tmp_path).repositories()
