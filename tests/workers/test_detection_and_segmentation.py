"""The recipes of boxes and masks: they learn, they resume bit by bit, and any Hub client loads what they leave."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.zoo import zoo_model
from steelyard_workers import networks
from steelyard_workers.detections import decode_detections, predict_boxes
from steelyard_workers.processors import Normalisation
from steelyard_workers.recipes import detection, segmentation
from steelyard_workers.training.start import start
from tests.support.vision_datasets import LABELS, draw_splits, write_masks, write_yolo
from tests.workers.conftest import RecordingSession

RECIPES = {"object-detection": detection, "image-segmentation": segmentation}


class CommittingSession(RecordingSession):
    """Keeps what is committed and reported too."""

    def __init__(self, scratch, **given):
        super().__init__(scratch, **given)
        self.result: dict[str, Any] = {}
        self.measured: dict[str, float] = {}
        self.edges: list[str] = []
        self.samples: dict[tuple[str, int], bytes] = {}

    def commit(self, folder, repository, *, branch, start, title):
        self.folder, self.title = folder, title
        return "v1"

    def lineage(self, report):
        self.edges.append(report.relation)

    def evaluation(self, report):
        self.measured = report.metrics

    def sample(self, name, step, png):
        self.samples[name, step] = png


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    splits = draw_splits({"train": 24, "val": 8}, size=(64, 48))
    return {"lab/boxes": write_yolo(root / "boxes", splits), "lab/masks": write_masks(root / "masks", splits)}


def spec(task, **fields):
    given = {"task": task, "output": "lab/made", "image_size": 64, "batch_size": 8, "epochs": 2, "seed": 4}
    own = {
        "object-detection": {"dataset": "lab/boxes@v1", "model": "rt-detr-v2-nano", "learning_rate": 2e-3},
        "image-segmentation": {"dataset": "lab/masks@v1", "model": "segformer-nano", "learning_rate": 2e-3},
    }[task]
    return TrainSpec.model_validate({**given, **own, **fields})


def run(task, folder, shapes, checkpoint=None, die_after=None, **fields):
    folder.mkdir()
    session = CommittingSession(folder, datasets=shapes, checkpoint=checkpoint)
    session.die_after = die_after
    if die_after is None:
        session.result = RECIPES[task].train(session, spec(task, **fields), threads=1)
    else:
        with pytest.raises(InterruptedError):
            RECIPES[task].train(session, spec(task, **fields), threads=1)
    return session


@pytest.fixture(scope="module")
def detector(tmp_path_factory, shapes):
    return run("object-detection", tmp_path_factory.mktemp("detector") / "whole", shapes, augmentation={"flip": True})


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory, shapes):
    return run("image-segmentation", tmp_path_factory.mktemp("segmenter") / "whole", shapes, epochs=4)


def weights(session):
    from safetensors.torch import load_file

    return load_file(session.folder / "model.safetensors")


def losses(session):
    return [value for (name, _), value in sorted(session.points.items(), key=lambda item: item[0][1])
            if name == "train/loss"]  # fmt: skip


def test_a_detector_learns_and_is_loaded_by_any_hub_client(detector, shapes):
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    assert losses(detector)[-1] < 0.7 * losses(detector)[0]
    assert detector.measured.keys() == {"loss", "map50", "map50_95"}
    assert detector.result["version"] == "lab/made@v1"
    assert detector.edges == ["trained-on"]
    network = AutoModelForObjectDetection.from_pretrained(detector.folder)
    assert network.config.id2label == dict(enumerate(LABELS))
    processor = AutoImageProcessor.from_pretrained(detector.folder)
    picture = Image.open(shapes["lab/boxes"] / "images/val/0.png")
    pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
    ours = torch.from_numpy(np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR)).copy()).permute(2, 0, 1)
    normalise = Normalisation.of(detector.folder)
    assert torch.allclose(pixels, normalise(ours[None].float() / 255), atol=0.02)
    [found] = predict_boxes(network, ours[None], [(64, 48)], normalise=normalise)
    theirs = processor.post_process_object_detection(network(pixels), threshold=0.0, target_sizes=[(48, 64)])[0]
    assert np.allclose(found.scores[:5], theirs["scores"][:5].detach().numpy(), atol=0.02)
    assert np.all(np.diff(found.scores) <= 0)
    assert (found.boxes[:, 2] <= 64).all()
    card = (detector.folder / "README.md").read_text()
    assert "pipeline_tag: object-detection" in card
    assert "disc, square" in card
    assert "map50_95" in card


def test_a_segmenter_learns_and_is_loaded_by_any_hub_client(segmenter):
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    assert segmenter.measured["mean_iou"] > 0.5
    assert segmenter.measured.keys() == {"loss", "mean_iou", "pixel_accuracy"}
    network = AutoModelForSemanticSegmentation.from_pretrained(segmenter.folder)
    assert network.config.id2label == dict(enumerate(["background", *LABELS]))
    assert AutoImageProcessor.from_pretrained(segmenter.folder).size["height"] == 64
    assert "pipeline_tag: image-segmentation" in (segmenter.folder / "README.md").read_text()


@pytest.mark.parametrize("task", RECIPES)
def test_an_interrupted_run_goes_on_bit_by_bit(task, tmp_path, shapes, request):
    whole = request.getfixturevalue("detector" if task == "object-detection" else "segmenter")
    more = {"augmentation": {"flip": True}} if task == "object-detection" else {"epochs": 4}
    first = run(task, tmp_path / "first", shapes, die_after=1, **more)
    second = run(task, tmp_path / "second", shapes, checkpoint=first.saved[-1], **more)
    before, after = weights(whole), weights(second)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    whole_losses = {key: value for key, value in whole.points.items() if not key[0].endswith("_per_s")}
    both = {key: value for key, value in {**first.points, **second.points}.items() if not key[0].endswith("_per_s")}
    assert both == whole_losses


def test_samples_of_every_epoch_are_pictures(detector, segmenter):
    for session, epochs in ((detector, 2), (segmenter, 4)):
        assert len(session.samples) == epochs
        with Image.open(io.BytesIO(next(iter(session.samples.values())))) as sheet:
            assert sheet.format == "PNG"
            assert sheet.width > 240


def test_a_base_goes_on_with_its_own_numbers_and_a_new_head(tmp_path, shapes, segmenter):
    base = tmp_path / "base"
    base.mkdir()
    for name in ("config.json", "model.safetensors"):
        (base / name).write_bytes((segmenter.folder / name).read_bytes())
    described = json.loads((segmenter.folder / "preprocessor_config.json").read_text())
    (base / "preprocessor_config.json").write_text(json.dumps(described | {"image_mean": [0.4, 0.5, 0.6]}))
    datasets = {**shapes, "lab/base": base}
    tuned = run("image-segmentation", tmp_path / "run", datasets, base="lab/base@v1", model=None, epochs=1)
    assert tuned.edges == ["trained-on", "fine-tuned-from"]
    assert tuned.result["transfer"] == {"loaded": len(weights(tuned)), "reshaped": 0, "missing": 0, "unexpected": 0}
    assert tuned.measured["mean_iou"] > 0.5
    saved = json.loads((tuned.folder / "preprocessor_config.json").read_text())
    assert saved["image_mean"] == [0.4, 0.5, 0.6]


@pytest.mark.parametrize("name", ["rt-detr-v2-nano", "d-fine-nano", "d-fine-small", "rf-detr-nano"])
def test_the_zoo_s_detectors_answer_and_have_a_loss(session_in, name):
    model = zoo_model(name)
    network = networks.build_zoo(model, channels=3, labels=LABELS, side=64)
    detection.fit_queries(print, network, side=64)
    network.loss_function = detection.in_float32(network.loss_function)
    targets = [{"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.25, 0.5]])}]
    empty = [{"class_labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0, 4)}]
    loss = network(pixel_values=torch.rand(2, 3, 64, 64), labels=targets + empty).loss
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("name", "task"),
    [("rt-detr-v2-nano", "object-detection"), ("rf-detr-nano", "object-detection"), ("vit-nano", None)],
)
def test_a_base_is_taken_whole_whatever_its_file_calls_the_tensors(tmp_path, name, task):
    torch.manual_seed(1)
    base = networks.build_zoo(zoo_model(name), channels=3, labels=["a", "b", "c"])
    base.save_pretrained(tmp_path)
    given = {"task": task or "image-classification", "dataset": "lab/d@v1", "output": "lab/made", "base": "lab/base@v1"}
    begun = start(TrainSpec.model_validate(given), channels=3, labels=["x", "y"], base=tmp_path)
    assert begun.report is not None
    assert (begun.report.missing, begun.report.unexpected) == ([], [])
    before, after = base.state_dict(), begun.network.state_dict()
    assert all(torch.equal(before[one], after[one]) for one in begun.report.loaded)
    assert len(begun.report.loaded) > 0.9 * len(after)


def test_adapters_of_a_detector_are_refused():
    with pytest.raises(ValidationError, match="adapters are for classification and segmentation"):
        spec("object-detection", model=None, base="lab/base@v1", adapter={})


def test_a_task_without_a_network_is_refused():
    with pytest.raises(ValidationError, match="object-detection needs a network: name one of the zoo"):
        spec("object-detection", model=None)


def test_data_of_another_task_is_refused(tmp_path, shapes):
    with pytest.raises(DatasetUnusableError, match="The dataset holds no boxes that can be read"):
        run("object-detection", tmp_path / "run", shapes, dataset="lab/masks@v1")


def test_answers_are_decoded_whether_or_not_there_is_a_class_for_nothing():
    logits = np.full((1, 3, 2), -100.0, np.float32)
    logits[0, 1, 1] = 2.0
    boxes = np.tile(np.array([0.5, 0.5, 0.5, 0.25], np.float32), (1, 3, 1))
    [found] = decode_detections(logits, boxes, [(100, 40)], model_type="rt_detr_v2")
    assert found.labels[0] == 1
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-5)
    assert found.boxes[0].tolist() == [25, 15, 75, 25]
    [found] = decode_detections(np.append(logits, logits[:, :, :1], axis=2), boxes, [(100, 40)], model_type="yolos")
    assert found.labels[0] == 1
    assert found.scores[0] == pytest.approx(1.0, abs=1e-5)
