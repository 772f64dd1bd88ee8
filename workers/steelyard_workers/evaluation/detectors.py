"""A detector on a split with boxes: mean average precision, and the pictures where it misses or invents most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from steelyard_contracts.evaluation import WorstSample
from steelyard_contracts.jobs import EvaluateSpec
from steelyard_contracts.tasks import Task
from steelyard_workers.datasets import open_split
from steelyard_workers.datasets.detection import DetectionSplit
from steelyard_workers.detections import decode_detections
from steelyard_workers.evaluation.findings import digest_of, of_detection
from steelyard_workers.evaluation.networks_to_run import Runner
from steelyard_workers.evaluation.outcome import Outcome
from steelyard_workers.evaluation.samples import small_picture
from steelyard_workers.measures.detection import SURE, DetectionMeasures, Detections, Truths
from steelyard_workers.session import JobSession

_BATCH = 8
_MOST_NAMED = 5


def evaluate_detector(session: JobSession, spec: EvaluateSpec, runner: Runner, dataset: Path) -> Outcome:
    """Raises: DatasetUnusableError."""
    how = runner.how
    data = open_split(dataset, spec.split, Task.DETECTION, size=how.size, labels=how.labels)
    predictions = _predictions(session, runner, data)
    session.progress(0.85, "measuring")
    truths = [Truths(data.boxes_in_pixels(index).numpy(), data.targets[index].numpy()) for index in range(len(data))]
    pictures = digest_of(spec.dataset, spec.split, data.pictures.names)
    findings, found = of_detection(predictions, truths, how.labels, pictures)
    return Outcome(
        findings=findings,
        pictures=len(data),
        samples=_worst(dataset, data, predictions, truths, found, spec.samples),
        one_picture=how.normalised(data.pictures.pixels(torch.tensor([0])).numpy()),
    )


def _predictions(session: JobSession, runner: Runner, data: DetectionSplit) -> list[Detections]:
    found: list[Detections] = []
    for indices in torch.split(torch.arange(len(data)), _BATCH):
        answer = runner.run(runner.how.normalised(data.pictures.pixels(indices).numpy()))
        sizes = [(int(width), int(height)) for width, height in data.sizes[indices].tolist()]
        found += decode_detections(answer["logits"], answer["pred_boxes"], sizes, model_type=runner.how.model_type)
        session.progress(0.2 + 0.65 * len(found) / len(data), f"{len(found)} of {len(data)}")
    return found


def _worst(
    dataset: Path,
    data: DetectionSplit,
    predictions: list[Detections],
    truths: list[Truths],
    found: DetectionMeasures,
    count: int,
) -> list[WorstSample]:
    """By boxes that are missed and sure ones that are invented; green is true, red is said."""
    costs = found.missed + found.false_alarms
    samples = []
    for index in np.argsort(-costs, kind="stable")[:count].tolist():
        said = predictions[index]
        sure = said.scores >= SURE
        samples.append(
            WorstSample(
                path=data.pictures.names[index],
                truth=_named(data.labels, truths[index].labels.tolist()),
                answer=f"{found.missed[index]} missed, {found.false_alarms[index]} invented: "
                f"{_named(data.labels, said.labels[sure].tolist())}",
                cost=float(costs[index]),
                picture=small_picture(
                    dataset / data.pictures.names[index],
                    true=truths[index].boxes.tolist(),
                    said=said.boxes[sure].tolist(),
                ),
            )
        )
    return samples


def _named(labels: list[str], indices: list[int]) -> str:
    """Each label with how often it is there."""
    counts = {labels[index]: indices.count(index) for index in sorted(set(indices))}
    words = [f"{count} {label}" for label, count in list(counts.items())[:_MOST_NAMED]]
    return ", ".join(words)[:400] or "nothing"
