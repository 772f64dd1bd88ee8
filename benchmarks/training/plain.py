"""The peer: the same network on the same pictures by a loop as anybody writes it with torch, without a platform.

    python -m benchmarks.training.plain FOLDER EPOCHS BATCH MODEL SIDE

Prints what it took as JSON. The pictures, their augmentation, the network and the measures come from the same code as
ours, so that what differs is the loop: no checkpoints, no metrics, no best epoch, no samples.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from steelyard_contracts.tasks import Task
from steelyard_contracts.training import Augmentation, TrainSpec
from steelyard_contracts.zoo import zoo_model
from steelyard_workers import networks
from steelyard_workers.datasets import open_split
from steelyard_workers.images import ImageFolder, augment, normalise
from steelyard_workers.processors import Normalisation
from steelyard_workers.recipes import detection
from steelyard_workers.training.machine import set_up


class Problem(Protocol):
    """What is learned."""

    network: Any
    pictures: int

    def loss(self, indices: Tensor, generator: torch.Generator) -> Tensor: ...
    def measure(self) -> float: ...


def main() -> None:
    folder, model = Path(sys.argv[1]), sys.argv[4]
    epochs, batch, side = (int(sys.argv[number]) for number in (2, 3, 5))
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(0)
    made: Callable[[Path, str, int], Problem] = Boxes if zoo_model(model).task is Task.DETECTION else Classes
    problem = made(folder, model, side)
    started = time.perf_counter()
    measured = learn(problem, epochs=epochs, batch=batch)
    print(json.dumps({"seconds": time.perf_counter() - started, "measured": measured}))


def learn(problem: Problem, *, epochs: int, batch: int) -> float:
    """AdamW on a cosine, measured after each epoch; returns the last measure."""
    steps = epochs * -(-problem.pictures // batch)
    parameters = list(problem.network.parameters())
    decaying, plain = [one for one in parameters if one.ndim > 1], [one for one in parameters if one.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decaying, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0}], lr=3e-3
    )
    rising = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            (step + 1) / rising
            if step < rising
            else 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
        ),
    )
    generator, measured = torch.Generator().manual_seed(0), 0.0
    for _ in range(epochs):
        problem.network.train()
        for indices in torch.split(torch.randperm(problem.pictures, generator=generator), batch):
            loss = problem.loss(indices, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        measured = problem.measure()
    return measured


class Classes:
    """Classification; measured is the accuracy."""

    def __init__(self, folder: Path, model: str, side: int) -> None:
        labels = sorted(path.name for path in (folder / "train").iterdir())
        self.train, self.validation = (
            ImageFolder(folder / split, size=side, channels=1, labels=labels) for split in ("train", "validation")
        )
        self.network = networks.build_zoo(zoo_model(model), channels=1, labels=labels, side=side)
        self.pictures = len(self.train)

    def loss(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        pictures = augment(self.train.pixels(indices).float() / 255, generator, Augmentation())
        logits = self.network(pixel_values=normalise(pictures)).logits
        return functional.cross_entropy(logits, self.train.targets[indices])

    @torch.inference_mode()
    def measure(self) -> float:
        self.network.eval()
        right = 0
        for pictures, truth in self.validation.batches(256):
            right += int((self.network(pixel_values=pictures).logits.argmax(1) == truth).sum())
        return right / len(self.validation)


class Boxes:
    """Detection; measured is COCO's average precision."""

    def __init__(self, folder: Path, model: str, side: int) -> None:
        spec = TrainSpec(task=Task.DETECTION, dataset="lab/bench", output="lab/bench", model=model, image_size=side)
        train = open_split(folder, "train", Task.DETECTION, size=side)
        held_out = open_split(folder, "validation", Task.DETECTION, size=side, labels=train.labels)
        self.network = networks.build_zoo(zoo_model(model), channels=3, labels=train.labels, side=side)
        detection.fit_queries(print, self.network, side=side)
        data, machine = detection.Data(train, held_out), set_up(spec, threads=1)
        self.parts = detection.Detection(data, spec, machine, Normalisation.of(None))
        self.pictures = len(train)

    def loss(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        return self.parts.loss_of(self.network, self.parts.batch(indices, generator))

    def measure(self) -> float:
        return self.parts.validate(self.network)["map50_95"]


if __name__ == "__main__":
    main()
