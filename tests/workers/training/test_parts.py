"""The parts that a loop is made of: stages, frozen tensors, optimizers, schedules, averages, the zoo."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.tasks import Task
from steelyard_contracts.training import ScheduleName, TrainSpec
from steelyard_contracts.zoo import COUNTED_CHANNELS, COUNTED_CLASSES, ZOO, zoo_model
from steelyard_workers import networks
from steelyard_workers.training.best import Best, Headline
from steelyard_workers.training.divergence import DivergedError
from steelyard_workers.training.ema import Average
from steelyard_workers.training.freezing import freeze, plan_freezing, set_training
from steelyard_workers.training.layout import layout_of
from steelyard_workers.training.memory import is_out_of_memory, largest_batch
from steelyard_workers.training.optimizers import assignments, make_optimizers
from steelyard_workers.training.schedules import Schedule

LABELS = ["across", "down"]


def spec(**fields):
    return TrainSpec.model_validate({"dataset": "lab/two", "output": "lab/reader", **fields})


def built(name, labels=LABELS, channels=3):
    """Without memory behind it: only names and shapes matter."""
    with torch.device("meta"):
        return networks.build_zoo(zoo_model(name), channels=channels, labels=labels)


@pytest.mark.parametrize("model", ZOO, ids=lambda one: one.name)
def test_each_network_of_the_zoo_is_what_its_entry_says(model):
    network = built(model.name, [f"class {number}" for number in range(COUNTED_CLASSES)], COUNTED_CHANNELS)
    assert sum(one.numel() for one in network.parameters()) == model.parameters
    layout = layout_of(network)
    assert layout.stages >= 3
    of_head = [name for name, _ in network.named_parameters() if layout.is_head(name)]
    assert 0 < len(of_head) < len(layout.names)
    assert model.image_size % model.multiple == 0
    assert model.description.endswith(".")
    assert network.config.id2label[3] == "class 3"


def test_stages_are_read_from_names():
    layout = layout_of(built("vit-nano"))
    assert (layout.backbone, layout.stages) == ("vit.", 4)
    assert layout.stage_of("vit.embeddings.cls_token") == 0
    assert layout.stage_of("vit.layers.2.mlp.fc1.weight") == 3
    assert layout.stage_of("vit.layernorm.weight") == 4  # behind the last layer
    assert layout.stage_of("classifier.weight") is None
    assert layout.depth_of("classifier.weight") == 0
    assert layout.depth_of("vit.layers.3.mlp.fc1.weight") == 1
    assert layout.depth_of("vit.embeddings.cls_token") == 5
    assert layout_of(built("rt-detr-v2-nano")).backbone == "model.backbone."


def test_stages_open_one_by_one_from_the_last():
    network = built("resnet-nano")
    plan = plan_freezing(network, spec(base="lab/a", freeze="backbone", unfreeze_every=2, epochs=9))
    assert [plan.stages_open_at(epoch) for epoch in range(9)] == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert [epoch for epoch in range(9) if plan.changes_at(epoch)] == [2, 4, 6, 8]
    assert not plan.is_frozen("resnet.encoder.stages.2.layers.0.layer.0.convolution.weight", 2)
    assert plan.is_frozen("resnet.encoder.stages.1.layers.0.layer.0.convolution.weight", 2)
    assert plan.is_frozen("resnet.embedder.embedder.convolution.weight", 7)
    assert not plan.is_frozen("resnet.embedder.embedder.convolution.weight", 8)


def test_modules_are_frozen_by_pattern_and_their_norms_do_not_move():
    network = built("resnet-nano")
    plan = plan_freezing(network, spec(base="lab/a", freeze=["resnet.embedder", "*.stages.0.*"]))
    freeze(network, plan, epoch=0)
    set_training(network)
    assert not network.resnet.embedder.embedder.normalization.training
    assert not network.resnet.encoder.stages[0].training
    assert network.resnet.encoder.stages[1].training
    frozen = {name for name, one in network.named_parameters() if not one.requires_grad}
    assert frozen
    assert all(name.startswith(("resnet.embedder.", "resnet.encoder.stages.0.")) for name in frozen)


def test_what_cannot_be_frozen_is_said():
    network = built("resnet-nano")
    with pytest.raises(InvalidInputError, match=r"'stages\.9' names no part of this network; parts are classifier"):
        plan_freezing(network, spec(base="lab/a", freeze=["stages.9"]))
    with pytest.raises(InvalidInputError, match="Everything is frozen"):
        plan_freezing(network, spec(base="lab/a", freeze=["*"]))


def test_muon_gets_the_hidden_matrices_and_nothing_else():
    network, wanted = built("vit-nano"), spec(model="vit-nano", optimizer="muon")
    plan = plan_freezing(network, wanted)
    chosen = {name: one for name, _, one in assignments(network, wanted, plan.layout)}
    with_muon = {name for name, one in chosen.items() if one.optimizer == "muon"}
    assert len(with_muon) == 4 * 6  # layers, each with four matrices of attention and two of its MLP
    assert all(name.startswith("vit.layers.") for name in with_muon)
    assert not chosen["vit.embeddings.cls_token"].decays
    assert not chosen["classifier.bias"].decays
    assert chosen["classifier.weight"].decays
    made = make_optimizers(network, wanted, plan)
    assert "muon: 24 tensors" in made.sentence()
    assert sum(made.counts().values()) == sum(one.numel() for one in network.parameters())
    conv = built("resnet-nano")
    with pytest.raises(InvalidInputError, match="Muon is for matrices"):
        make_optimizers(conv, spec(optimizer="muon"), plan_freezing(conv, spec()))


def test_stages_far_from_the_head_learn_slower_and_the_rate_reaches_each():
    network, wanted = built("resnet-nano"), spec(layer_decay=0.5, learning_rate=0.8, optimizer="sgd")
    made = make_optimizers(network, wanted, plan_freezing(network, wanted))
    made.set_rate(0.4, momentum_dip=0.05)
    groups = [group for part in made.parts.values() for group in part.param_groups]
    assert {group["lr"] for group in groups} == {0.4, 0.2, 0.1, 0.05, 0.025}
    assert all(group["momentum"] == pytest.approx(0.85) for group in groups)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (ScheduleName.CONSTANT, [0.5, 1, 1, 1, 1]),
        (ScheduleName.LINEAR, [0.5, 1, 1, 0.55, 0.1]),
        (ScheduleName.COSINE, [0.5, 1, 1, 0.55, 0.1]),
        (ScheduleName.ONE_CYCLE, [0.04, 0.52, 1, 0.55, 0.1]),
    ],
)
def test_the_rate_rises_and_falls(name, expected):
    schedule = Schedule(name, steps=10, rising=2, final=0.1)
    assert [schedule.rate(step) for step in (0, 1, 2, 6, 10)] == pytest.approx(expected)
    assert schedule.momentum_dip(2) == pytest.approx(0.1 if name is ScheduleName.ONE_CYCLE else 0)


def test_an_average_follows_and_leaves_equal_numbers_as_they_are():
    linear, norm = torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)
    network = torch.nn.Sequential(linear, norm)
    average = Average(network, 0.9)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        linear.weight += 1
        norm.num_batches_tracked = torch.tensor(7)
    average.update(network)
    after = average.network.state_dict()
    assert torch.allclose(after["0.weight"], before["0.weight"] + 9 / 11)  # the first steps count more
    assert torch.equal(after["0.bias"], before["0.bias"])
    assert after["1.num_batches_tracked"] == 7


def test_the_best_is_kept_and_a_measure_that_is_no_number_is_said():
    best = Best(Headline("accuracy"), keeps_weights=True)
    assert best.offer(1, {"accuracy": 0.5, "loss": 1.0}, {"w": torch.tensor(1.0)})
    assert best.offer(2, {"accuracy": 0.5, "loss": 0.9}, {"w": torch.tensor(2.0)})  # no less right, and surer
    assert not best.offer(3, {"accuracy": 0.4, "loss": 0.1}, {"w": torch.tensor(3.0)})
    assert (best.epoch, best.stale, best.weights) == (2, 1, {"w": torch.tensor(2.0)})
    with pytest.raises(DivergedError, match="after epoch 4 the validation says accuracy 0.4, loss nan"):
        best.offer(4, {"accuracy": 0.4, "loss": float("nan")}, {})


def test_the_batch_grows_until_memory_would_end(monkeypatch):
    taken = {"now": 0.0}
    monkeypatch.setattr("steelyard_workers.training.memory._capacity", lambda device: 1_000.0)
    monkeypatch.setattr("steelyard_workers.training.memory._resident", lambda device: 0.0)
    monkeypatch.setattr("steelyard_workers.training.memory._measured", lambda attempt, size, device: measured(size))

    def measured(size):
        taken["now"] = 100 + 10.0 * size
        return taken["now"]

    def found(pictures, reserved=0):
        return largest_batch(
            lambda size: None, pictures=pictures, share=0.8, reserved=reserved, device=torch.device("cpu")
        )

    assert found(10_000) == 64  # 740 bytes; 128 would take 1,380
    assert taken["now"] == 740  # and was never tried
    assert found(200) == 8  # so that an epoch has its twenty steps
    with pytest.raises(InvalidInputError, match="Not even a batch of 2 pictures fits"):
        found(10_000, reserved=750)


def test_memory_that_ends_is_told_from_other_faults():
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "resnet-huge"}, "The zoo has no network 'resnet-huge'; it has: resnet-nano, "),
        ({"model": "resnet-nano", "task": "object-detection"}, "resnet-nano is for image-classification"),
        ({"model": "vit-nano", "image_size": 30}, "a multiple of 4; change image_size"),
        ({"model": "vit-nano", "architecture": {}}, "both name a network"),
        ({"architecture": {}, "task": "object-detection"}, "architecture makes classifiers"),
        ({"freeze": "backbone"}, "freeze needs weights to start from; name them with base"),
        ({"adapter": {}}, "adapter needs weights to start from"),
        ({"base": "lab/a", "unfreeze_every": 2}, "set freeze to backbone"),
        ({"base": "lab/a", "adapter": {}, "freeze": "backbone"}, "an adapter freezes the base by itself"),
        ({"base": "lab/a", "freeze": ["a b"]}, "'a b' is no pattern of module names"),
        ({"nesterov": True}, "set optimizer to sgd"),
        ({"class_weights": {"a": -1}}, "positive numbers"),
    ],
)
def test_a_spec_that_contradicts_itself_says_what_to_change(fields, sentence):
    with pytest.raises(ValidationError) as caught:
        spec(**fields)
    assert sentence in str(caught.value)


def test_a_spec_knows_its_side():
    assert spec().side == 32
    assert spec(model="resnet-small").side == 224
    assert spec(model="resnet-small", image_size=64).side == 64
    assert spec(task=Task.SEGMENTATION, model="segformer-nano").side == 128
