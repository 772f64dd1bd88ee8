"""`transformers.Trainer` and Lightning's interface report to a run."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

import steelyard
from steelyard.tracking.spool import Place, Spool
from steelyard.tracking.transformers import SteelyardCallback


class _Pictures(Dataset[dict[str, Any]]):
    def __len__(self):
        return 8

    def __getitem__(self, number):
        return {"pixel_values": torch.full((3, 16, 16), float(number % 2)), "labels": number % 2}


@pytest.fixture
def run(tmp_path):
    return steelyard.init("lab/shelf", offline=True, folder=tmp_path / "runs", quiet=True)


def _said(run):
    """(the names of its metrics, its configuration, its end) of what a run has written."""
    spool = Spool(run.folder, most_bytes=2**30)
    names: set[tuple[str, int]] = set()
    config: dict[str, Any] = {}
    end = None
    for line in spool.read(Place())[1]:
        content = line[1:]
        match line[:1]:
            case b"p":
                points = json.loads(b"[" + content.partition(b" ")[2] + b"]")
                names |= {(point["name"], point["step"]) for point in points}
            case b"u":
                config |= json.loads(content).get("config", {})
            case b"f":
                end = json.loads(content)["state"]
    spool.close()
    return names, config, end


def test_a_trainer_reports_its_losses_and_saves_its_network(run, tmp_path):
    network = ResNetForImageClassification(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], num_labels=2))
    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=4, logging_steps=1, report_to=[],
        save_strategy="steps", save_steps=2, use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    callback = SteelyardCallback(run=run, save_checkpoints=True)
    Trainer(network, arguments, train_dataset=_Pictures(), callbacks=[callback]).train()
    run.finish()
    names, config, end = _said(run)
    assert {("train/loss", 1), ("train/loss", 2), ("learning_rate", 1)} <= names
    assert (config["max_steps"], config["model"], end) == (2, "resnet", "succeeded")
    checkpoint, final = (
        sorted(path.name for path in (run.folder / "saves" / name).iterdir()) for name in ("000001", "000002")
    )
    assert final == ["config.json", "model.safetensors"]
    assert {"config.json", "model.safetensors"} <= set(checkpoint)
    assert not any(name.endswith((".pt", ".pth", ".bin")) for name in checkpoint)


def test_a_trainer_stops_when_its_run_is_cancelled(run):
    class _Cancelled(steelyard.Run):
        is_cancelled = True

    run.__class__ = _Cancelled
    control = type("Control", (), {"should_training_stop": False})()
    assert SteelyardCallback(run=run).on_step_end(None, None, control).should_training_stop


@pytest.fixture
def logger(monkeypatch, run):
    """Lightning is not among what tests install: its interface alone stands in."""
    base = type("Logger", (), {"__init__": lambda self: None})
    loggers, utilities = ModuleType("lightning.pytorch.loggers"), ModuleType("lightning.pytorch.utilities")
    loggers.Logger, utilities.rank_zero_only = base, lambda function: function  # type: ignore[attr-defined]
    for name, module in {"lightning": ModuleType("lightning"), "lightning.pytorch": ModuleType("lightning.pytorch"),
                         loggers.__name__: loggers, utilities.__name__: utilities}.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "steelyard.tracking.lightning", raising=False)
    from steelyard.tracking.lightning import SteelyardLogger

    return SteelyardLogger


def test_lightning_reports_by_its_logger(logger, run, tmp_path):
    one = logger(run=run, save=True)
    one.log_hyperparams({"lr": 0.1})
    one.log_metrics({"loss": 1.0}, step=3)
    best = tmp_path / "best.ckpt"
    best.write_bytes(b"weights")
    one.after_save_checkpoint(type("Callback", (), {"best_model_path": str(best)})())
    one.finalize("success")
    assert one.experiment is run
    run.finish()
    names, config, end = _said(run)
    assert (names, config, end) == ({("loss", 3)}, {"lr": 0.1}, "succeeded")
    assert (run.folder / "saves" / "000001" / "best.ckpt").read_bytes() == b"weights"


def test_lightning_ends_a_run_of_its_own_as_it_ends(logger, tmp_path):
    one = logger("lab/shelf", offline=True, folder=tmp_path / "more", quiet=True)
    one.finalize("success")  # nothing was said: there is no run
    one.log_metrics({"loss": 1.0})
    assert (one.name, one.experiment.project) == ("lab/shelf", "lab/shelf")
    one.finalize("failed")
    assert _said(one.experiment)[2] == "failed"
