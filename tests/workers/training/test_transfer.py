"""From a base to a result: what is taken over, what stays frozen, adapters, and what is said when it cannot work."""

from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
import torch
import transformers

from steelyard_contracts.errors import DatasetUnusableError, InvalidInputError
from steelyard_contracts.training import Architecture, TrainSpec
from steelyard_contracts.zoo import zoo_model
from steelyard_workers import networks
from steelyard_workers.processors import Normalisation
from steelyard_workers.recipes import classification
from steelyard_workers.recipes.versions import save, train_network
from steelyard_workers.training.divergence import DivergedError
from steelyard_workers.training.start import start
from steelyard_workers.training.transfer import read_weights, transfer
from tests.support.networks import save_network

# PEFT asks transformers by an older name whether activations are recomputed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SMALL = Architecture(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
GIVEN = {"dataset": "lab/three", "output": "lab/reader", "image_size": 16, "epochs": 2, "batch_size": 8, "seed": 3}


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return networks.build(SMALL, channels=1, labels=["across", "down"])


@pytest.fixture
def folders(base, pictures, tmp_path):
    """The datasets, and the base as the version lab/base."""
    save_network(base, tmp_path / "base", image_size=16)
    return {**pictures, "lab/base": tmp_path / "base"}


def run(session, **fields):
    spec = TrainSpec.model_validate({**GIVEN, **fields})
    recipe, begun, machine = classification.prepare(session, spec, threads=1)
    trained = train_network(session, recipe.spec, recipe, begun.network, machine)
    return trained.network, trained.measures, trained.fitted


def same(one, other, names):
    return all(torch.equal(one[name], other[name]) for name in names)


def test_what_torch_saved_is_taken_over_whatever_a_script_put_around_it(base, folders, session_in):
    folder = folders["lab/base"]
    state = {f"module.{name}": tensor for name, tensor in base.state_dict().items()}
    (folder / "model.safetensors").unlink()
    torch.save({"epoch": 3, "state_dict": state}, folder / "last.pt")
    report = transfer(read_weights(folder), networks.build(SMALL, channels=1, labels=["across", "down"]))
    assert report.counts() == {"loaded": len(state), "reshaped": 0, "missing": 0, "unexpected": 0}
    # Without a config, the network has to be named; then the version trains as any.
    (folder / "config.json").unlink()
    with pytest.raises(InvalidInputError, match="it has no config.json. Name the network with model or architecture"):
        run(session_in("unnamed", datasets=folders), base="lab/base@v1")
    session = session_in("named", datasets=folders)
    tuned, _, _ = run(session, base="lab/base@v1", architecture=SMALL, freeze="backbone")
    assert same(tuned.state_dict(), base.state_dict(), [name for name in base.state_dict() if "resnet." in name])
    assert "2 skipped because of their shape: classifier.1.weight, classifier.1.bias" in " ".join(session.lines)
    torch.save(state, folder / "other.pt")
    with pytest.raises(InvalidInputError, match="several files of weights: last.pt, other.pt. Name one with base_file"):
        read_weights(folder)
    with pytest.raises(InvalidInputError, match="The base has no file missing.pt"):
        read_weights(folder, "missing.pt")


def test_shards_and_a_lone_file_are_read(base, tmp_path):
    names = list(base.state_dict())
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        safetensors.torch.save_file({name: base.state_dict()[name] for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert set(read_weights(tmp_path)) == set(names)
    (tmp_path / "model.safetensors.index.json").unlink()
    (tmp_path / "b.safetensors").unlink()
    assert set(read_weights(tmp_path)) == set(names[::2])


def test_a_pickle_that_is_more_than_tensors_is_refused(tmp_path):
    torch.save({"weights": TrainSpec(dataset="a/b", output="a/c")}, tmp_path / "whole.pt")
    with pytest.raises(InvalidInputError, match="whole.pt is no file of tensors .* make it safetensors with"):
        read_weights(tmp_path)
    (tmp_path / "whole.pt").rename(tmp_path / "note.txt")
    with pytest.raises(InvalidInputError, match="no weights to start from; its files are note.txt"):
        read_weights(tmp_path)


def test_a_base_of_another_architecture_is_refused(folders, session_in, tmp_path):
    with pytest.raises(InvalidInputError, match="it is another architecture. Name the one that the base was trained"):
        run(session_in("a", datasets=folders), base="lab/base@v1", model="vit-nano")
    detector = networks.build_zoo(zoo_model("rt-detr-v2-nano"), channels=1, labels=["a", "b"])
    save_network(detector, tmp_path / "detector", image_size=32)
    with pytest.raises(
        InvalidInputError, match="'rt_detr_v2' network, which is not for image-classification. Start from"
    ):
        run(session_in("b", datasets={**folders, "lab/base": tmp_path / "detector"}), base="lab/base@v1")
    (folders["lab/base"] / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(InvalidInputError, match="names no network that is known here"):
        run(session_in("c", datasets=folders), base="lab/base@v1")


def test_stages_open_while_it_trains(base, folders, session_in):
    session = session_in(datasets=folders)
    tuned, _, _ = run(session, base="lab/base@v1", freeze="backbone", unfreeze_every=1, keep="last", epochs=2)
    before, after = base.state_dict(), tuned.state_dict()
    changed = {name for name in before if before[name].shape == after[name].shape and not same(before, after, [name])}
    assert any("stages.1." in name for name in changed)
    assert not any("stages.0." in name or "embedder" in name for name in changed)
    assert "epoch 2: another stage opens" in " ".join(session.lines)


@pytest.mark.parametrize("fate", ["merged", "kept"])
def test_adapters_learn_and_the_base_does_not(base, folders, session_in, fate):
    import peft

    session = session_in(datasets=folders)
    adapter = {"rank": 2, "fate": fate, "targets": ["layer.1.convolution"]}
    network, measures, fitted = run(session, base="lab/base@v1", adapter=adapter)
    learnt = sum(fitted.optimizers.values())
    assert learnt < sum(one.numel() for one in base.parameters()) / 2
    before = base.state_dict()
    if fate == "merged":
        after = network.state_dict()
        touched = {name for name in before if "resnet" in name and not same(before, after, [name])}
        assert touched
        assert all(name.endswith("layer.1.convolution.weight") for name in touched)
        return
    folder = session.scratch / "adapter"
    spec = TrainSpec.model_validate({**GIVEN, "base": "lab/base@v1", "adapter": adapter})
    save(network, folder, spec, Normalisation.ours(1))
    kept = {path.name for path in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json"} <= kept
    assert list(transformers.AutoConfig.from_pretrained(folder).id2label.values()) == ["across", "down", "plain"]
    alone = TrainSpec.model_validate({**GIVEN, "base": "lab/adapter@v1"})
    with pytest.raises(InvalidInputError, match="is an adapter and no network by itself; start from lab/base@v1"):
        start(alone, channels=3, labels=["a", "b"], base=folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("lab/base", "v1")
    fresh = networks.build(SMALL, channels=1, labels=["across", "down", "plain"])
    transfer(before, fresh)
    loaded = peft.PeftModel.from_pretrained(fresh, folder)
    recipe, _, _ = classification.prepare(session_in("again", datasets=folders), TrainSpec(**GIVEN), threads=1)
    assert recipe.validate(loaded)["loss"] == pytest.approx(measures["loss"], abs=1e-5)


def test_an_adapter_names_its_targets(folders, session_in):
    with pytest.raises(InvalidInputError, match="no matrix or convolution of this network is called 'query'"):
        run(session_in(datasets=folders), base="lab/base@v1", adapter={"targets": ["query"]})


def test_a_loss_that_is_no_number_stops_with_what_to_change(pictures, session_in, monkeypatch):
    ordinary = classification.Classification.loss_of
    calls = {"count": 0}

    def ruined(self, network, batch):
        calls["count"] += 1
        return ordinary(self, network, batch) * (float("nan") if calls["count"] == 5 else 1)

    monkeypatch.setattr(classification.Classification, "loss_of", ruined)
    session = session_in(datasets=pictures)
    with pytest.raises(DivergedError) as caught:
        run(session, dataset="lab/two", architecture=SMALL, learning_rate=0.5)
    said = str(caught.value)
    assert said.startswith("The training diverged: the loss of step 5 is nan. The checkpoint of step 3 is kept.")
    assert "a learning_rate below 0.5" in said
    assert "clip_norm 1.0" in said
    assert len(session.saved) == 1


def test_it_stops_early_and_keeps_the_best(pictures, session_in):
    session = session_in(datasets=pictures)
    _, measures, fitted = run(session, dataset="lab/two", architecture=SMALL, epochs=40, patience=2, learning_rate=0.01)
    assert fitted.stopped == "no better accuracy for 2 epochs"
    assert fitted.steps == (fitted.epoch + 2) * 3
    assert measures["accuracy"] >= fitted.measures["accuracy"]


def test_it_stops_when_asked_and_keeps_what_it_has(pictures, session_in):
    session = session_in(datasets=pictures)
    session.should_stop = lambda: ("validation/loss", 3) in session.points
    _, _, fitted = run(session, dataset="lab/two", architecture=SMALL, epochs=40)
    assert (fitted.stopped, fitted.steps) == ("asked to stop", 4)
    assert ("validation/accuracy", 4) in session.points


def test_a_batch_is_found_and_computed_in_bf16(pictures, session_in):
    session = session_in(datasets=pictures)
    _, _, fitted = run(session, dataset="lab/two", architecture=SMALL, batch_size="auto", precision="bf16", epochs=1)
    assert fitted.batch_size == 2
    assert "in bf16" in " ".join(session.lines)


def test_what_the_data_does_not_allow_is_said(pictures, session_in, tmp_path):
    with pytest.raises(InvalidInputError, match="class_weights names up, .* labels are across, down"):
        run(session_in("a", datasets=pictures), dataset="lab/two", architecture=SMALL, class_weights={"up": 2.0})
    with pytest.raises(InvalidInputError, match="fp16 needs a GPU, and this worker has none"):
        run(session_in("b", datasets=pictures), dataset="lab/two", architecture=SMALL, precision="fp16")
    shutil.copytree(pictures["lab/two"], tmp_path / "one")
    shutil.rmtree(tmp_path / "one" / "train" / "down")
    with pytest.raises(DatasetUnusableError, match="has 1 class\\(es\\) to train on; a classifier needs two or more"):
        run(session_in("c", datasets={"lab/two": tmp_path / "one"}), dataset="lab/two", architecture=SMALL)


def test_a_batch_that_does_not_fit_says_what_to_set(pictures, session_in, monkeypatch):
    def greedy(self, network, batch):
        raise MemoryError

    monkeypatch.setattr(classification.Classification, "loss_of", greedy)
    with pytest.raises(
        InvalidInputError, match="A batch of 8 pictures of 16 px does not fit .* Set batch_size to 4 or"
    ):
        run(session_in(datasets=pictures), dataset="lab/two", architecture=SMALL)
