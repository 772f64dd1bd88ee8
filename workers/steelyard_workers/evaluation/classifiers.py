"""A classifier on a split in ImageFolder layout: probabilities in batches, then its measures and worst pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from steelyard_contracts.errors import DatasetUnusableError, InvalidInputError
from steelyard_contracts.evaluation import WorstSample
from steelyard_contracts.jobs import EvaluateSpec
from steelyard_workers import images
from steelyard_workers.datasets.files import class_folder
from steelyard_workers.evaluation.findings import digest_of, of_classification
from steelyard_workers.evaluation.networks_to_run import Runner
from steelyard_workers.evaluation.outcome import Outcome
from steelyard_workers.evaluation.samples import small_picture
from steelyard_workers.images import ImageFolder
from steelyard_workers.measures.classification import losses, softmax
from steelyard_workers.session import JobSession

_BATCH = 64


def evaluate_classifier(session: JobSession, spec: EvaluateSpec, runner: Runner, dataset: Path) -> Outcome:
    """Raises: DatasetUnusableError, InvalidInputError."""
    how = runner.how
    data = classes_split(dataset, spec.split, labels=how.labels, channels=how.channels, size=how.size)
    probabilities = _probabilities(session, runner, data)
    session.progress(0.85, "measuring")
    targets, names = data.targets.numpy(), [path.relative_to(dataset).as_posix() for path, _ in data.items]
    findings = of_classification(probabilities, targets, how.labels, digest_of(spec.dataset, spec.split, names))
    return Outcome(
        findings=findings,
        pictures=len(data),
        samples=_worst(data, names, probabilities, spec.samples),
        one_picture=how.normalised(data.pixels(torch.tensor([0])).numpy()),
    )


def classes_split(dataset: Path, split: str, *, labels: list[str], channels: int, size: int) -> ImageFolder:
    """Raises: DatasetUnusableError when the split holds nothing, or labels that the model does not know."""
    folder = class_folder(dataset, split)
    known = images.labels_of(folder)
    if not known:
        raise DatasetUnusableError(f"The dataset has no pictures in classes under {split}/<label>/.", split=split)
    if unknown := set(known) - set(labels):
        raise DatasetUnusableError(
            f"The dataset has labels that this model does not know: {', '.join(sorted(unknown))}. "
            f"It knows: {', '.join(labels)}."
        )
    return ImageFolder(folder, size=size, channels=channels, labels=labels)


def _probabilities(session: JobSession, runner: Runner, data: ImageFolder) -> NDArray[np.float64]:
    """(N, C), a batch at a time. Raises: InvalidInputError for a network that says no numbers."""
    found = np.empty((len(data), len(runner.how.labels)))
    for indices in torch.split(torch.arange(len(data)), _BATCH):
        logits = runner.run(runner.how.normalised(data.pixels(indices).numpy()))["logits"]
        if logits.shape != (len(indices), found.shape[1]) or not np.isfinite(logits).all():
            raise InvalidInputError(
                f"The network answers {logits.shape[1:]} with numbers that are not finite, or not one for each of its "
                f"{found.shape[1]} labels; its file and its config.json do not fit, or its training diverged."
            )
        found[indices.numpy()] = softmax(logits)
        session.progress(0.2 + 0.65 * (int(indices[-1]) + 1) / len(data), f"{int(indices[-1]) + 1} of {len(data)}")
    return found


def _worst(data: ImageFolder, names: list[str], probabilities: NDArray[np.float64], count: int) -> list[WorstSample]:
    """Those with the highest loss that are wrong, or nearly."""
    costs = losses(probabilities, data.targets.numpy())
    samples = []
    for index in np.argsort(-costs, kind="stable")[:count].tolist():
        said, true = int(probabilities[index].argmax()), data.items[index][1]
        samples.append(
            WorstSample(
                path=names[index],
                truth=data.labels[true],
                answer=f"{data.labels[said]} {probabilities[index, said]:.2f}",
                cost=round(float(costs[index]), 6),
                picture=small_picture(data.items[index][0]),
            )
        )
    return samples
