"""The recipe: it learns, it resumes bit by bit, and what is frozen stays as it was."""

from __future__ import annotations

import pytest
import torch

from steelyard_contracts.errors import DatasetUnusableError, InvalidInputError
from steelyard_contracts.jobs import Architecture, TrainSpec
from steelyard_workers import networks
from steelyard_workers.images import Augmentation, ImageFolder, augment, channels_of, decode
from steelyard_workers.recipes import classification

SMALL = Architecture(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])


def spec(**fields):
    given = {"dataset": "lab/two", "output": "lab/reader", "image_size": 16, "epochs": 4, "batch_size": 8, "seed": 3}
    architecture = None if "base" in fields else SMALL
    return TrainSpec.model_validate({**given, "architecture": architecture, **fields})


def run(session, wanted):
    """The recipe up to the trained network, without the platform."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(wanted.seed)
    data = classification.load_data(session, wanted)
    network, prefixes = classification.make_network(session, wanted, data)
    classification.fit(session, wanted, data, network, prefixes)
    batches = (batch for batch, _ in data.train.batches(64))
    networks.reestimate_batch_norm(network, batches, prefixes)
    return network, data


def states_equal(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_it_learns_to_tell_stripes_apart(session_in, pictures):
    session = session_in(datasets=pictures)
    network, data = run(session, spec(epochs=8))
    _, accuracy = classification.measure(network, data.validation)
    assert accuracy >= 0.9
    assert session.points["train/loss", 1] > session.points["train/loss", 24]
    assert ("validation/accuracy", 24) in session.points


def test_an_interrupted_run_goes_on_bit_by_bit(session_in, pictures):
    whole = session_in("whole", datasets=pictures)
    expected, _ = run(whole, spec())
    first = session_in("first", datasets=pictures)
    first.die_after = 2
    with pytest.raises(InterruptedError):
        run(first, spec())
    second = session_in("second", datasets=pictures, checkpoint=first.saved[-1])
    resumed, _ = run(second, spec())
    assert states_equal(expected.state_dict(), resumed.state_dict())
    assert {**first.points, **second.points} == whole.points
    assert "going on after epoch 2" in " ".join(second.lines)


def test_a_frozen_backbone_stays_bit_identical_and_only_the_head_is_new(session_in, pictures, tmp_path):
    base, _ = run(session_in("base", datasets=pictures), spec())
    networks.save(base, tmp_path / "model", image_size=16)
    datasets = {**pictures, "lab/reader": tmp_path / "model"}
    session = session_in("tuned", datasets=datasets)
    wanted = spec(dataset="lab/three", base="lab/reader@v1", freeze="backbone")
    tuned, _ = run(session, wanted)
    before, after = base.state_dict(), tuned.state_dict()
    for name, tensor in after.items():
        if name.startswith("resnet."):
            assert torch.equal(tensor, before[name]), name
    assert after["classifier.1.weight"].shape[0] == 3
    assert "2 new (classifier.1.weight, classifier.1.bias)" in " ".join(session.lines)


def test_unfrozen_stages_learn_and_the_stem_does_not(session_in, pictures, tmp_path):
    base, _ = run(session_in("base", datasets=pictures), spec())
    networks.save(base, tmp_path / "model", image_size=16)
    session = session_in("tuned", datasets={**pictures, "lab/reader": tmp_path / "model"})
    tuned, _ = run(session, spec(base="lab/reader@v1", freeze="backbone", unfrozen_stages=1))
    before, after = base.state_dict(), tuned.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert any(name.startswith("resnet.encoder.stages.1.") for name in changed)
    assert not any(name.startswith(("resnet.embedder.", "resnet.encoder.stages.0.")) for name in changed)


def test_what_is_saved_is_loaded_by_any_hub_client_bit_by_bit(session_in, pictures, tmp_path):
    from transformers import AutoConfig, AutoModelForImageClassification

    network, _ = run(session_in(datasets=pictures), spec(epochs=1))
    networks.save(network, tmp_path / "model", image_size=16)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "model")
    assert states_equal(network.state_dict(), loaded.state_dict())
    assert AutoConfig.from_pretrained(tmp_path / "model").id2label == {0: "across", 1: "down"}
    assert networks.described(tmp_path / "model") == (["across", "down"], 1)
    assert networks.image_size_of(tmp_path / "model") == 16


def test_a_base_for_other_channels_is_refused(session_in, pictures, tmp_path):
    colour = networks.build(SMALL, channels=3, labels=["a", "b"])
    networks.save(colour, tmp_path / "model", image_size=16)
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
    still = augment(pictures_in, torch.Generator().manual_seed(1), Augmentation(0, 0, 0))
    assert torch.allclose(still, pictures_in, atol=1e-5)


def test_biases_and_norms_do_not_decay():
    network = networks.build(SMALL, channels=1, labels=["a", "b"])
    decayed, plain = networks.parameter_groups(network, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0
    assert all(one.ndim > 1 for one in decayed["params"])
    assert all(one.ndim == 1 for one in plain["params"])
