"""Variants: each file runs, agrees with the network it came from, and answers what it is known to answer."""

from __future__ import annotations

import pytest
import torch

from steelyard_contracts.errors import DatasetUnusableError
from steelyard_contracts.training import Architecture
from steelyard_workers import networks, runtime
from steelyard_workers.evaluation.classifiers import classes_split
from steelyard_workers.images import ImageFolder
from steelyard_workers.optimise.onnx_files import convert_float16, export_float32, quantise_int8
from steelyard_workers.optimise.variants import known_answers
from steelyard_workers.training.batch_norm import reestimate

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
LABELS = ["across", "down"]


@pytest.fixture(scope="module")
def made(pictures, tmp_path_factory):
    """The three files of one small network."""
    folder = tmp_path_factory.mktemp("variants")
    torch.manual_seed(0)
    network = networks.build(
        Architecture(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]), channels=1, labels=LABELS
    )
    train = ImageFolder(pictures["lab/two"] / "train", size=16, channels=1, labels=LABELS)
    reestimate(network, (batch for batch, _ in train.batches(64)), lambda batch: network(pixel_values=batch))
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", "fp16", "int8")}
    export_float32(network, paths["fp32"], channels=1, size=16)
    convert_float16(paths["fp32"], paths["fp16"])
    quantise_int8(paths["fp32"], paths["int8"], train)
    return network, train, paths


@pytest.mark.parametrize(("name", "tolerance"), [("fp32", 1e-4), ("fp16", 2e-2), ("int8", 0.5)])
def test_each_file_says_what_the_network_says(made, name, tolerance):
    network, train, paths = made
    for pictures, _ in train.batches(5):  # any batch size
        with torch.inference_mode():
            expected = network(pixel_values=pictures).logits.numpy()
        found = runtime.logits_of(runtime.open_session(paths[name]), pictures.numpy())
        assert abs(found - expected).max() < tolerance


def test_smaller_files_are_smaller_and_nothing_else_is_left(made):
    _, _, paths = made
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    assert sizes["fp16"] < sizes["fp32"]
    assert {path.name for path in paths["fp32"].parent.iterdir()} == {path.name for path in paths.values()}


def test_a_file_is_measured_in_its_own_runtime(made):
    _, train, paths = made
    found = runtime.measure(paths["int8"], train)
    assert 0 <= found.accuracy <= 1
    assert 0 < found.latency_ms_p50 <= found.latency_ms_p95
    assert found.bytes == paths["int8"].stat().st_size


def test_known_answers_are_what_the_file_says(made):
    _, train, paths = made
    answers = known_answers(paths["fp32"], train, LABELS)
    assert len(answers.answers) == 16
    assert {one.label for one in answers.answers} <= set(LABELS)
    assert len(answers.answers[0].pixels) == 16


def test_a_dataset_with_unknown_labels_is_refused(pictures):
    with pytest.raises(
        DatasetUnusableError, match="labels that this model does not know: plain. It knows: across, down"
    ):
        classes_split(pictures["lab/three"], "validation", labels=LABELS, channels=1, size=16)
