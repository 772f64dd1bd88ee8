"""A prediction job: pictures in, labels, boxes or masks out, by an ONNX file that is made once."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace
from uuid import uuid4

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from PIL import Image

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import PredictSpec
from steelyard_contracts.tasks import Task
from steelyard_contracts.training import Architecture
from steelyard_contracts.zoo import zoo_model
from steelyard_workers import networks, preprocessing
from steelyard_workers.evaluation.segmenters import upscaled
from steelyard_workers.prediction.answers import answer_of
from steelyard_workers.prediction.export import export
from steelyard_workers.prediction.job import predict
from steelyard_workers.prediction.pictures import SentPicture, open_picture
from steelyard_workers.preprocessing import Preprocessing
from steelyard_workers.recipes import detection
from tests.support.networks import save_network

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def png(width=20, height=10, mode="RGB"):
    kept = io.BytesIO()
    Image.new(mode, (width, height), 90).save(kept, "PNG")
    return kept.getvalue()


def how(task=Task.CLASSIFICATION, labels=("a", "b", "c"), model_type="rt_detr_v2"):
    return Preprocessing(task, list(labels), 3, 16, [0.5] * 3, [0.5] * 3, model_type)


def spec(**fields):
    return PredictSpec(model="lab/reader@v1", runs="lab/reader@v1", upload=uuid4(), **{"pictures": 1, **fields})


@pytest.fixture
def session(session_in, tmp_path):
    """With a small classifier, and pictures that somebody has sent."""
    torch.manual_seed(0)
    folder = tmp_path / "model"
    network = networks.build(
        Architecture(embedding_size=8, hidden_sizes=[8], depths=[1]), channels=3, labels=["a", "b"]
    )
    save_network(network.eval(), folder, image_size=16)
    found = session_in(datasets={"lab/reader": folder})
    found.made = tmp_path / "made"
    found.version = lambda ref: SimpleNamespace(commit="c" * 40)
    found.sent = [png(), png(8, 8, "L")]
    found.uploaded_picture = lambda number: found.sent[number]
    return found


def test_a_classifier_is_exported_once_and_answers(session):
    said = predict(session, spec(pictures=2, top=1), threads=1)
    assert (said["task"], said["runtime"], said["version"]) == (
        "image-classification",
        "onnxruntime-cpu",
        "lab/reader@v1",
    )
    assert said["file"].endswith("exported to ONNX by the worker")
    first, second = said["pictures"]
    assert (first["width"], first["height"], second["width"]) == (20, 10, 8)
    assert first["latency_ms"] > 0
    assert 0.5 <= first["labels"][0]["score"] <= 1
    (made,) = session.made.iterdir()
    before = made.stat().st_mtime_ns
    assert predict(session, spec(pictures=1), threads=1)["pictures"][0]["labels"][0] == first["labels"][0]
    assert made.stat().st_mtime_ns == before


def test_a_picture_that_cannot_be_read_or_is_too_large_is_named(monkeypatch):
    with pytest.raises(InvalidInputError, match="Picture 2 cannot be read"):
        open_picture(b"\x89PNG\r\n\x1a\n nothing", how(), number=1)
    whole = png(200, 200)
    with pytest.raises(InvalidInputError, match="Picture 1 cannot be read"):
        open_picture(whole[: len(whole) // 2], how(), number=0)
    monkeypatch.setattr("steelyard_workers.prediction.pictures.MOST_PIXELS", 100)
    with pytest.raises(InvalidInputError, match=r"Picture 1 has 20 x 10 pixels; at most 100 pixels"):
        open_picture(png(), how(), number=0)


def test_boxes_are_in_pixels_of_what_was_sent_and_sure_enough():
    sent = SentPicture(np.zeros((1, 3, 16, 16), np.uint8), width=200, height=100)
    logits = np.full((1, 2, 3), -9.0, np.float32)
    logits[0, 0, 1], logits[0, 1, 2] = 3.0, -1.0  # 0.95 sure, and 0.27
    outputs = {"logits": logits, "pred_boxes": np.array([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1]]], np.float32)}
    (box,) = answer_of(outputs, sent, how(Task.DETECTION), spec(), latency_ms=1).boxes
    assert box.label == "b"
    assert box.score == pytest.approx(0.9526, abs=1e-3)
    assert box.box == pytest.approx((80, 30, 120, 70), abs=0.01)
    both = answer_of(outputs, sent, how(Task.DETECTION), spec(threshold=0.2), latency_ms=1).boxes
    assert [one.label for one in both] == ["b", "c"]


def test_a_segmentation_says_shares_and_a_mask_to_lie_over_the_picture():
    logits = np.zeros((1, 3, 4, 4), np.float32)
    logits[0, 0], logits[0, 2, 1:3, 1:3] = 1, 5
    sent = SentPicture(np.zeros((1, 3, 16, 16), np.uint8), width=40, height=40)
    found = answer_of({"logits": logits}, sent, how(Task.SEGMENTATION), spec(), latency_ms=1)
    measured = upscaled(logits, 16)[0].argmax(0)  # as an evaluation counts pixels
    assert [one.label for one in found.shares] == ["a", "c"]
    assert [one.score for one in found.shares] == pytest.approx([(measured == n).mean() for n in (0, 2)], abs=1e-6)
    assert found.mask is not None
    with Image.open(io.BytesIO(base64.b64decode(found.mask))) as mask:
        seen = np.asarray(mask.convert("RGBA"))
    assert (seen[:, :, 3] == np.where(measured == 0, 0, 255)).all()
    painted = "#{:02x}{:02x}{:02x}".format(*seen[measured == 2][0, :3])
    assert [one.colour for one in found.shares] == [None, painted]  # the key to it


def test_a_detector_is_exported_with_its_boxes(session_in, tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "detector"
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 32],
        patch_size=8, num_detection_tokens=5, id2label={0: "disc"}, label2id={"disc": 0},
    )  # fmt: skip
    transformers.YolosForObjectDetection(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 32, "width": 32}}')
    session = session_in(datasets={"lab/reader": folder})
    session.made, session.version = tmp_path / "made", lambda ref: SimpleNamespace(commit="d" * 40)
    session.uploaded_picture = lambda number: png()
    (one,) = predict(session, spec(threshold=0.0), threads=1)["pictures"]
    assert len(one["boxes"]) == 5
    assert all(0 <= side <= 20 for box in one["boxes"] for side in box["box"])


@pytest.mark.parametrize("name", ["rt-detr-v2-nano", "d-fine-nano", "rf-detr-nano"])
def test_the_zoo_s_detectors_are_exported_and_find_what_torch_finds(session_in, tmp_path, name):
    torch.manual_seed(0)
    network = networks.build_zoo(zoo_model(name), channels=3, labels=["disc", "square"], side=64)
    detection.fit_queries(print, network, side=64)
    folder = tmp_path / "detector"
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 64, "width": 64}}')
    export(folder, tmp_path / "made.onnx", preprocessing.describe(folder))
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        answer = network.eval()(pixel_values=picture)
    expected = torch.cat([answer.logits[0], answer.pred_boxes[0]], dim=1).numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "made.onnx"))
    logits, boxes = session.run(None, {"pixel_values": picture.numpy()})
    found = np.concatenate([logits[0], boxes[0]], axis=1)
    # The same answers; equally good queries may come in another order.
    distances = np.abs(expected[:, None] - found[None]).max(axis=2)
    assert distances.min(axis=0).max() < 1e-3
    assert distances.min(axis=1).max() < 1e-3
