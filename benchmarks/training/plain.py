"""The peer: the same network on the same pictures by a loop as anybody writes it with torch, without a platform.

    python -m benchmarks.training.plain FOLDER EPOCHS BATCH MODEL SIDE

Prints what it took as JSON. The pictures, their augmentation and the network come from the same code as ours, so that
what differs is the loop: no checkpoints, no metrics, no best epoch.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from steelyard_contracts.training import Augmentation
from steelyard_contracts.zoo import zoo_model
from steelyard_workers import networks
from steelyard_workers.images import ImageFolder, augment, normalise


def main() -> None:
    folder, epochs, batch, model, side = (
        Path(sys.argv[1]),
        int(sys.argv[2]),
        int(sys.argv[3]),
        sys.argv[4],
        int(sys.argv[5]),
    )
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(0)
    labels = sorted(path.name for path in (folder / "train").iterdir())
    train, validation = (
        ImageFolder(folder / split, size=side, channels=1, labels=labels) for split in ("train", "validation")
    )
    network = networks.build_zoo(zoo_model(model), channels=1, labels=labels, side=side)
    started = time.perf_counter()
    accuracy = learn(network, train, validation, epochs=epochs, batch=batch)
    print(json.dumps({"seconds": time.perf_counter() - started, "accuracy": accuracy}))


def learn(network: Any, train: ImageFolder, validation: ImageFolder, *, epochs: int, batch: int) -> float:
    """AdamW on a cosine; returns the last epoch's accuracy."""
    steps = epochs * -(-len(train) // batch)
    decaying = [one for one in network.parameters() if one.ndim > 1]
    plain = [one for one in network.parameters() if one.ndim <= 1]
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
    generator, accuracy = torch.Generator().manual_seed(0), 0.0
    for _ in range(epochs):
        network.train()
        for indices in torch.split(torch.randperm(len(train), generator=generator), batch):
            pictures = augment(train.pixels(indices).float() / 255, generator, Augmentation())
            loss = functional.cross_entropy(network(pixel_values=normalise(pictures)).logits, train.targets[indices])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        accuracy = measure(network, validation)
    return accuracy


@torch.inference_mode()
def measure(network: Any, data: ImageFolder) -> float:
    network.eval()
    right = sum(int((network(pixel_values=one).logits.argmax(1) == truth).sum()) for one, truth in data.batches(256))
    return right / len(data)


if __name__ == "__main__":
    main()
