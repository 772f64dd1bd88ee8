"""An evaluation job: the same findings in torch and ONNX Runtime, on any split, with what it did worst on."""

from __future__ import annotations

import base64
import io
import itertools
import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from steelyard_contracts.errors import DatasetUnusableError, InvalidInputError
from steelyard_contracts.evaluation import Paired, differences_of, unpack
from steelyard_contracts.jobs import EvaluateSpec, EvaluationReport
from steelyard_contracts.training import Architecture
from steelyard_workers import networks
from steelyard_workers.evaluation import findings
from steelyard_workers.evaluation.job import evaluate
from steelyard_workers.measures import bootstrap
from steelyard_workers.optimise.onnx_files import export_float32
from steelyard_workers.preprocessing import describe
from tests.support.networks import save_network

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
LABELS = ["across", "down"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An untrained network, and its ONNX variant."""
    folders = {"lab/torch": tmp_path_factory.mktemp("torch"), "lab/onnx": tmp_path_factory.mktemp("onnx")}
    torch.manual_seed(0)
    network = networks.build(Architecture(embedding_size=8, hidden_sizes=[8], depths=[1]), channels=1, labels=LABELS)
    save_network(network, folders["lab/torch"], image_size=16)
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(folders["lab/torch"] / name, folders["lab/onnx"] / name)
    export_float32(network.eval(), folders["lab/onnx"] / "model.onnx", channels=1, size=16)
    return folders


@pytest.fixture
def measured(session_in, models, pictures):
    numbers = itertools.count()

    def run(model="lab/torch", dataset="lab/two", **fields) -> EvaluationReport:
        session = session_in(f"run-{next(numbers)}", datasets={**models, **pictures})
        result = evaluate(session, EvaluateSpec(model=f"{model}@v1", dataset=f"{dataset}@v1", **fields), threads=1)
        (report,) = session.reports
        assert result == {"runtime": report.runtime, **report.metrics}
        return EvaluationReport.model_validate_json(report.model_dump_json())  # it travels

    return run


def test_a_classifier_is_measured_alike_in_torch_and_in_onnx_runtime(measured):
    one, other = measured(), measured("lab/onnx")
    assert (one.runtime, other.runtime) == ("torch-cpu", "onnxruntime-cpu")
    assert one.task == "image-classification"
    assert one.pictures == 24
    same = ["accuracy", "f1_macro", "roc_auc", "ece", "loss"]
    assert [one.metrics[name] for name in same] == pytest.approx([other.metrics[name] for name in same], abs=1e-3)
    assert other.metrics["latency_ms_p50"] > 0
    low, high = one.intervals["accuracy"].low, one.intervals["accuracy"].high
    assert low <= one.metrics["accuracy"] <= high
    assert [row.label for row in one.measures.classes] == LABELS
    assert sum(map(sum, one.measures.confusion.counts)) == 24
    assert sum(each.count for each in one.measures.calibration) == 24
    assert {curve.kind for curve in one.measures.curves} == {"roc", "precision-recall"}


def test_versions_on_the_same_pictures_can_be_paired_and_on_others_cannot(measured):
    one, other = measured(), measured("lab/onnx")
    pair = [Paired(report.metrics, report.replicates) for report in (one, other)]
    (accuracy,) = [each for each in differences_of(*pair) if each.metric == "accuracy"]
    assert accuracy.is_noise
    assert len(unpack(one.replicates.values["accuracy"])) == bootstrap.RESAMPLES
    elsewhere = measured("lab/onnx", split="train")
    assert elsewhere.split == "train"
    far = differences_of(pair[0], Paired(elsewhere.metrics, elsewhere.replicates))
    assert {each.is_noise for each in far} == {None}


def test_the_worst_pictures_come_first_and_small(measured):
    samples = measured(samples=5).samples
    assert len(samples) == 5
    assert [one.cost for one in samples] == sorted((one.cost for one in samples), reverse=True)
    assert samples[0].path.startswith("validation/")
    assert samples[0].truth in LABELS
    with Image.open(io.BytesIO(base64.b64decode(samples[0].picture))) as picture:
        assert max(picture.size) <= 192
    assert measured("lab/onnx", samples=0).samples == []


def test_a_split_that_is_not_there_and_labels_that_are_unknown_are_named(measured):
    with pytest.raises(DatasetUnusableError, match="has no test split"):
        measured(split="test")
    with pytest.raises(DatasetUnusableError, match="does not know: plain. It knows: across, down"):
        measured("lab/onnx", dataset="lab/three")


def test_a_network_that_answers_no_numbers_is_refused(models, tmp_path, pictures, session_in):
    shutil.copytree(models["lab/torch"], tmp_path / "broken")
    network = networks.load(tmp_path / "broken")
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    save_network(network, tmp_path / "broken", image_size=16)
    session = session_in(datasets={"lab/broken": tmp_path / "broken", **pictures})
    with pytest.raises(InvalidInputError, match="numbers that are not finite"):
        evaluate(session, EvaluateSpec(model="lab/broken@v1", dataset="lab/two@v1"), threads=1)


def test_pictures_are_shown_to_a_network_as_it_was_trained(tmp_path):
    config = {"architectures": ["ViTForImageClassification"], "id2label": {"0": "a", "1": "b"}, "model_type": "vit"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shown = {"size": {"shortest_edge": 32}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.25]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(shown))
    how = describe(tmp_path)
    assert (how.size, how.channels, how.labels) == (32, 3, ["a", "b"])
    white = how.normalised(np.full((1, 3, 1, 1), 255, np.uint8))
    assert white.ravel().tolist() == pytest.approx([3.0, 2.5, 1.6])


def test_what_cannot_be_run_says_what_is_missing(tmp_path):
    with pytest.raises(InvalidInputError, match="has no config.json"):
        describe(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"id2label": {"0": "a"}, "architectures": ["BertForMaskedLM"]}')
    with pytest.raises(InvalidInputError, match="names the architecture BertForMaskedLM"):
        describe(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="is not as transformers writes them"):
        describe(tmp_path)


def test_of_many_classes_the_confused_ones_are_shown_and_nothing_is_lost():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 3, (150, 150))
    counts[7] += 50
    kept = findings.confusion_of(counts, [f"class {number}" for number in range(150)])
    assert len(kept.labels) == 100
    assert "class 7" in kept.labels
    assert kept.labels[-1] == "(others)"
    assert sum(map(sum, kept.counts)) == counts.sum()


def test_a_detector_is_measured_by_its_boxes(detector, boxed, session_in):
    session = session_in(datasets={"lab/detector": detector, "lab/boxed": boxed})
    evaluate(session, EvaluateSpec(model="lab/detector@v1", dataset="lab/boxed@v1", samples=2), threads=1)
    (report,) = session.reports
    assert report.task == "object-detection"
    assert 0 <= report.metrics["map50_95"] <= report.metrics["map50"] <= 1
    assert {row.label for row in report.measures.classes} == {"disc", "square"}
    assert sum(row.support for row in report.measures.classes) == 6
    assert "missed" in report.samples[0].answer


def test_a_segmentation_is_measured_by_its_pixels(segmenter, masked, session_in):
    session = session_in(datasets={"lab/segmenter": segmenter, "lab/masked": masked})
    evaluate(session, EvaluateSpec(model="lab/segmenter@v1", dataset="lab/masked@v1", samples=2), threads=1)
    (report,) = session.reports
    assert report.task == "image-segmentation"
    assert 0 <= report.metrics["mean_iou"] <= report.metrics["pixel_accuracy"] <= 1
    assert sum(map(sum, report.measures.confusion.counts)) == 4 * 32 * 32
    assert report.intervals["mean_iou"].low <= report.metrics["mean_iou"] <= report.intervals["mean_iou"].high
    assert "of the pixels are wrong" in report.samples[0].answer


def write_processor(folder, size):
    shown = {"size": {"height": size, "width": size}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(shown))


def names(*labels):
    return {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}


@pytest.fixture
def segmenter(tmp_path):
    """An untrained SegFormer of a few thousand parameters."""
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, **names("ground", "disc"),
    )  # fmt: skip
    folder = tmp_path / "segmenter"
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    write_processor(folder, 32)
    return folder


@pytest.fixture
def masked(tmp_path):
    root = tmp_path / "masked"
    for part in ("images", "masks"):
        (root / "validation" / part).mkdir(parents=True)
    (root / "classes.json").write_text('["ground", "disc"]')
    for number in range(4):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 4 + number : 16 + number] = 1
        Image.fromarray(mask).save(root / "validation" / "masks" / f"{number}.png")
        Image.fromarray(np.stack([mask * 200] * 3, -1)).save(root / "validation" / "images" / f"{number}.png")
    return root


@pytest.fixture
def detector(tmp_path):
    """An untrained YOLOS of a few thousand parameters."""
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 32],
        patch_size=8, num_detection_tokens=5, **names("disc", "square"),
    )  # fmt: skip
    folder = tmp_path / "detector"
    transformers.YolosForObjectDetection(config).save_pretrained(folder)
    write_processor(folder, 32)
    return folder


@pytest.fixture
def boxed(tmp_path):
    root = tmp_path / "boxed" / "validation"
    root.mkdir(parents=True)
    rows = []
    for number in range(3):
        Image.fromarray(np.full((40, 40, 3), 60 * number, np.uint8)).save(root / f"{number}.png")
        found = {"bbox": [[2, 2, 10, 10], [20, 20, 12, 9]], "category": ["disc", "square"]}
        rows.append(json.dumps({"file_name": f"{number}.png", "objects": found}))
    (root / "metadata.jsonl").write_text("\n".join(rows))
    return root.parent
