"""`steelyard train`: each field of a training is an option, and what is written arrives as the contract reads it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from steelyard import cli_training, terminal
from steelyard.cli import main
from steelyard_contracts.training import TrainSpec

ARGUMENTS = {"kind", "dataset", "output"}


class Asked:
    """A client that only remembers."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def train(self, resources, **fields):
        self.resources = resources
        self.spec = TrainSpec.model_validate(fields)
        return type("Job", (), {"id": "1234"})


@pytest.fixture
def asked(monkeypatch):
    client = Asked()
    monkeypatch.setattr(terminal, "connect", lambda: client)
    return client


def run(*options):
    return CliRunner().invoke(main, ["train", "lab/data", "lab/model", "--no-wait", *options])


def test_every_field_of_a_training_has_its_place():
    grouped = {name for names in cli_training.GROUPS.values() for name in names}
    assert grouped | cli_training.NESTED | ARGUMENTS == set(TrainSpec.model_fields)
    shown = CliRunner().invoke(main, ["train", "--help"]).output
    assert all(title in shown for title in cli_training.GROUPS)
    assert "[sgd|adamw|muon]" in shown


def test_what_is_not_given_is_left_to_the_defaults(asked):
    assert run().exit_code == 0
    assert asked.spec == TrainSpec(dataset="lab/data", output="lab/model")


def test_options_arrive_as_the_contract_reads_them(asked):
    done = run(
        "--model=vit-nano", "--batch-size=auto", "--optimizer=muon", "--no-augment", "--ema=0.99", "--base=lab/a@v1",
        "--freeze=*.layers.0", "--freeze=vit.embeddings", "--class-weights=cat=2,dog=0.5",
        "--set=augmentation.flip=true", "--set=seed=7",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    spec = asked.spec
    assert (spec.model, spec.batch_size, spec.optimizer, spec.augment, spec.ema) == (
        "vit-nano",
        "auto",
        "muon",
        False,
        0.99,
    )
    assert spec.freeze == ["*.layers.0", "vit.embeddings"]
    assert spec.class_weights == {"cat": 2.0, "dog": 0.5}
    assert (spec.augmentation.flip, spec.seed) == (True, 7)
    assert run("--base=lab/a", "--lora=4", "--keep-adapter", "--batch-size=16").exit_code == 0
    assert (asked.spec.adapter.rank, asked.spec.keeps_adapter, asked.spec.batch_size) == (4, True, 16)
    assert run("--base=lab/a", "--freeze=backbone", "--unfreeze-every=2").exit_code == 0
    assert (asked.spec.freeze, asked.spec.unfreeze_every) == ("backbone", 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--set", "epochs"], "changes nothing; write FIELD=VALUE"),
        (["--class-weights", "cat=many"], "is neither 'balanced' nor like cat=2"),
        (["--lora", "4"], "adapter needs weights to start from; name them with base"),
        (["--model", "nothing"], "The zoo has no network 'nothing'"),
        (["--batch-size", "huge"], "batch_size"),
    ],
)
def test_what_cannot_be_is_one_sentence(asked, options, sentence):
    done = run(*options)
    assert done.exit_code in {1, 2}
    assert sentence in done.output
    assert "Traceback" not in done.output
