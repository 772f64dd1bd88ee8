"""The real Lightning reports to a real Steelyard by our logger: metrics, hyper-parameters, the best checkpoint."""

from __future__ import annotations

import subprocess

import pytest

from steelyard_contracts.jobs import JobState
from tests.support.environments import python_of

pytestmark = [pytest.mark.long, pytest.mark.end_to_end]

TRAINING = """
import sys
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset
from steelyard.tracking.lightning import SteelyardLogger

class Line(LightningModule):
    def __init__(self, width):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)
    def training_step(self, batch, _):
        loss = (self.layer(batch[0]) - batch[1]).square().mean()
        self.log("loss", loss)
        if sys.argv[1] == "fails" and self.global_step == 5:
            raise ValueError("the data ran out")
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

torch.manual_seed(0)
x = torch.randn(64, 3)
data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
best = ModelCheckpoint(monitor="loss", dirpath="checkpoints")
logger = SteelyardLogger("lab/lightning", save=True, name=sys.argv[1])
Trainer(max_epochs=3, logger=logger, callbacks=[best], log_every_n_steps=1, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False).fit(Line(3), data)
"""


@pytest.fixture(scope="session")
def python():
    packages = ("lightning==2.6.6", "lightning-utilities==0.15.3", "torchmetrics==1.9.0")
    return python_of("lightning", "--no-deps", *packages, sees_ours=True)


@pytest.fixture
def trained(python, installation, hub, tmp_path):
    def train(name):
        done = subprocess.run(
            [python, "-c", TRAINING, name], env=installation.environment, cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        runs = [job for job in hub.jobs(team="lab", kind="run") if job.run.name == name]
        assert len(runs) == 1, done.stderr
        return runs[0], done

    return train


def test_a_training_is_a_run_with_its_best_checkpoint(trained, hub):
    run, done = trained("fits")
    assert done.returncode == 0, done.stderr
    assert run.state is JobState.SUCCEEDED
    assert run.spec.config["width"] == 3
    losses = hub.metrics(run.id)["loss"]
    assert losses.steps == list(range(24))
    assert losses.values[-1] < losses.values[0]
    version = hub.version(run.result["version"])
    assert version.title.startswith("The best checkpoint")


def test_a_training_that_fails_is_a_run_that_failed(trained):
    run, done = trained("fails")
    assert done.returncode != 0
    assert run.state is JobState.FAILED
