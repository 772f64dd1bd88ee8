"""A segmentation on a split with masks: intersection over union, and the pictures where most pixels are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from steelyard_contracts.evaluation import WorstSample
from steelyard_contracts.jobs import EvaluateSpec
from steelyard_contracts.tasks import Task
from steelyard_workers.datasets import open_split
from steelyard_workers.datasets.segmentation import SegmentationSplit
from steelyard_workers.evaluation.findings import digest_of, of_segmentation
from steelyard_workers.evaluation.networks_to_run import Runner
from steelyard_workers.evaluation.outcome import Outcome
from steelyard_workers.evaluation.samples import encoded
from steelyard_workers.measures.segmentation import IGNORED, pixel_confusion
from steelyard_workers.session import JobSession

_BATCH = 8
_SIDE = 160  # pixels of the picture and of its mask, side by side
_WRONG = (220, 38, 38)


def evaluate_segmenter(session: JobSession, spec: EvaluateSpec, runner: Runner, dataset: Path) -> Outcome:
    """Masks are compared at the size that the network takes. Raises: DatasetUnusableError."""
    how = runner.how
    data = open_split(dataset, spec.split, Task.SEGMENTATION, size=how.size, labels=how.labels)
    classes = len(how.labels)
    confusions = np.empty((len(data), classes, classes), np.int64)
    for indices in torch.split(torch.arange(len(data)), _BATCH):
        for index, answer, true in zip(
            indices.tolist(), _answers(runner, data, indices), data.masks(indices), strict=True
        ):
            confusions[index] = pixel_confusion(true.numpy(), answer, classes)
        done = int(indices[-1]) + 1
        session.progress(0.2 + 0.65 * done / len(data), f"{done} of {len(data)}")
    session.progress(0.85, "measuring")
    pictures = digest_of(spec.dataset, spec.split, data.pictures.names)
    return Outcome(
        findings=of_segmentation(confusions, how.labels, pictures),
        pictures=len(data),
        samples=_worst(runner, data, confusions, spec.samples),
        one_picture=how.normalised(data.pictures.pixels(torch.tensor([0])).numpy()),
    )


def _answers(runner: Runner, data: SegmentationSplit, indices: torch.Tensor) -> NDArray[np.int64]:
    """(B, size, size) class indices."""
    logits = runner.run(runner.how.normalised(data.pictures.pixels(indices).numpy()))["logits"]
    return np.asarray(upscaled(logits, runner.how.size).argmax(1), dtype=np.int64)


def upscaled(logits: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(B, C, h, w) to (B, C, size, size), bilinear: networks answer at a quarter of the size or so."""
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(logits), size=(size, size), mode="bilinear", align_corners=False
    )
    return whole.numpy()


def _worst(runner: Runner, data: SegmentationSplit, confusions: NDArray[np.int64], count: int) -> list[WorstSample]:
    """By the share of pixels that are wrong, which are red in the picture."""
    totals = np.maximum(confusions.sum((1, 2)), 1)
    wrong = 1 - np.trace(confusions, axis1=1, axis2=2) / totals
    samples = []
    for index in np.argsort(-wrong, kind="stable")[:count].tolist():
        place = torch.tensor([index])
        true, answer = data.masks(place)[0].numpy(), _answers(runner, data, place)[0]
        missed = confusions[index].sum(1) - np.diag(confusions[index])
        most = int(missed.argmax())
        samples.append(
            WorstSample(
                path=data.pictures.names[index],
                truth=", ".join(data.labels[label] for label in np.unique(true[true != IGNORED]).tolist())[:400],
                answer=f"{wrong[index]:.0%} of the pixels are wrong, most of {data.labels[most]}",
                cost=round(float(wrong[index]), 6),
                picture=_marked(data.pictures.pixels(place)[0].numpy(), (true != answer) & (true != IGNORED)),
            )
        )
    return samples


def _marked(pixels: NDArray[np.uint8], wrong: NDArray[np.bool_]) -> str:
    """(3, H, W) and (H, W): the picture with what is wrong in red."""
    picture = pixels.transpose(1, 2, 0).astype(np.float32)
    picture[wrong] = 0.4 * picture[wrong] + 0.6 * np.array(_WRONG, np.float32)
    small = Image.fromarray(picture.astype(np.uint8))
    small.thumbnail((_SIDE, _SIDE))
    return encoded(small)
