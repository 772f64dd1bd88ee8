"""The recipe: it learns, it resumes bit by bit, and what is frozen stays as it was."""

from __future__ import annotations

import pytest
import torch

from steelyard_contracts.errors import DatasetUnusableError, InvalidInputError
from steelyard_contracts.training import Architecture, Augmentation, TrainSpec
from steelyard_workers import networks
from steelyard_workers.images import ImageFolder, augment, channels_of, decode
from steelyard_workers.recipes import classification
from steelyard_workers.recipes.versions import train_network
from tests.support.networks import save_network

SMALL = Architecture(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])


def spec(**fields):
    given = {"dataset": "lab/two", "output": "lab/reader", "image_size": 16, "epochs": 4, "batch_size": 8, "seed": 3}
    architecture = None if "base" in fields or "model" in fields else SMALL
    return TrainSpec.model_validate({**given, "architecture": architecture, **fields})


def run(session, wanted):
    """The recipe up to the trained network, without the platform."""
    recipe, begun, machine = classification.prepare(session, wanted, threads=1)
    return train_network(session, recipe.spec, recipe, begun.network, machine).network, recipe.data


def states_equal(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_it_learns_to_tell_stripes_apart(session_in, pictures):
    session = session_in(datasets=pictures)
    network, data = run(session, spec(epochs=8))
    _, accuracy = classification.measure(network, data.validation)
    assert accuracy >= 0.9
    assert session.points["train/loss", 1] > session.points["train/loss", 24]
    assert ("validation/accuracy", 24) in session.points


def test_a_frozen_backbone_stays_bit_identical_and_only_the_head_is_new(session_in, pictures, tmp_path):
    base, _ = run(session_in("base", datasets=pictures), spec())
    save_network(base, tmp_path / "model", image_size=16)
    datasets = {**pictures, "lab/reader": tmp_path / "model"}
    session = session_in("tuned", datasets=datasets)
    wanted = spec(dataset="lab/three", base="lab/reader@v1", freeze="backbone", ema=0.9)
    tuned, _ = run(session, wanted)
    before, after = base.state_dict(), tuned.state_dict()
    for name, tensor in after.items():
        if name.startswith("resnet."):
            assert torch.equal(tensor, before[name]), name
    assert after["classifier.1.weight"].shape[0] == 3
    assert "2 new (classifier.1.weight, classifier.1.bias)" in " ".join(session.lines)


def test_unfrozen_stages_learn_and_the_stem_does_not(session_in, pictures, tmp_path):
    base, _ = run(session_in("base", datasets=pictures), spec())
    save_network(base, tmp_path / "model", image_size=16)
    session = session_in("tuned", datasets={**pictures, "lab/reader": tmp_path / "model"})
    tuned, _ = run(session, spec(base="lab/reader@v1", freeze="backbone", unfrozen_stages=1))
    before, after = base.state_dict(), tuned.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert any(name.startswith("resnet.encoder.stages.1.") for name in changed)
    assert not any(name.startswith(("resnet.embedder.", "resnet.encoder.stages.0.")) for name in changed)


def test_what_is_saved_is_loaded_by_any_hub_client_bit_by_bit(session_in, pictures, tmp_path):
    from transformers import AutoConfig, AutoModelForImageClassification

    network, _ = run(session_in(datasets=pictures), spec(epochs=1))
    save_network(network, tmp_path / "model", image_size=16)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "model")
    assert states_equal(network.state_dict(), loaded.state_dict())
    assert AutoConfig.from_pretrained(tmp_path / "model").id2label == {0: "across", 1: "down"}
    assert networks.described(tmp_path / "model") == (["across", "down"], 1)
    assert networks.image_size_of(tmp_path / "model") == 16


def test_a_base_for_other_channels_is_refused(session_in, pictures, tmp_path):
    colour = networks.build(SMALL, channels=3, labels=["a", "b"])
    save_network(colour, tmp_path / "model", image_size=16)
    session = session_in(datasets={**pictures, "lab/reader": tmp_path / "model"})
    with pytest.raises(InvalidInputError, match="The base takes pictures of 3 channels; this dataset's have 1"):
        run(session, spec(base="lab/reader@v1"))


def test_a_picture_that_does_not_decode_is_named(tmp_path, pictures):
    broken = tmp_path / "train" / "across" / "broken.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no picture")
    with pytest.raises(DatasetUnusableError, match=r"The picture train/across/broken\.png cannot be read"):
        decode(broken, size=16, channels=1)


def test_a_split_too_large_to_keep_is_decoded_as_needed(pictures, monkeypatch):
    root = pictures["lab/two"] / "train"
    kept = ImageFolder(root, size=16, channels=1, labels=["across", "down"])
    monkeypatch.setattr("steelyard_workers.images.CACHE_BYTES", 0)
    streamed = ImageFolder(root, size=16, channels=1, labels=["across", "down"])
    assert channels_of(root) == 1
    indices = torch.tensor([3, 0, 7])
    assert torch.equal(kept.pixels(indices), streamed.pixels(indices))


def test_augmentation_moves_pictures_and_repeats_with_its_seed(pictures):
    pictures_in = torch.rand(4, 1, 16, 16)
    twice = [augment(pictures_in, torch.Generator().manual_seed(1), Augmentation()) for _ in range(2)]
    assert torch.equal(*twice)
    assert not torch.equal(twice[0], pictures_in)
    still = augment(pictures_in, torch.Generator().manual_seed(1), Augmentation(rotation=0, shift=0, scale=0))
    assert torch.allclose(still, pictures_in, atol=1e-5)
