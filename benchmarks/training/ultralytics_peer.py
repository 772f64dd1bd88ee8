"""The other peer of a detector: `yolo train` of the real Ultralytics client on the same pictures.

It trains a network of its own family, so its speed and precision stand beside ours and not against them; what it loses
when it reports to Steelyard is compared with itself. It runs in its own environment.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.ultralytics.client import Client
from tests.support.installations import RunningInstallation
from tests.support.vision_datasets import draw_splits, write_yolo

NETWORK = "yolo11n"
_SPLITS = {"train": "train", "validation": "val"}


@dataclass(frozen=True, slots=True)
class Trained:
    """Seconds from the first step to the end of the last validation, and mAP50-95 there."""

    seconds: float
    measured: float


def beside_ultralytics(
    running: RunningInstallation, scratch: Path, counts: dict[str, int], options: argparse.Namespace
) -> list[tuple[str, str]]:
    """Rounds of `yolo train` alone and reporting, one after the other."""
    drawn = draw_splits(counts, size=(options.side, options.side))
    data = write_yolo(scratch / "yolo", {_SPLITS[split]: pictures for split, pictures in drawn.items()})
    with (data / "data.yaml").open("a") as file:
        file.write(f"path: {data}\ntrain: images/train\nval: images/val\n")
    client = Client(running, scratch / "client")
    alone, reporting = [], []
    for _ in range(options.rounds):
        alone.append(train(client, data, options, project=str(scratch / "alone")))
        reporting.append(train(client, data, options, project="lab/yolo"))
    seen = counts["train"] * options.epochs
    speeds = [seen / statistics.median(one.seconds for one in runs) for runs in (alone, reporting)]
    return [
        (f"images/s, ultralytics ({NETWORK}, another network)", f"{speeds[0]:.0f}"),
        ("map50_95, the same", f"{statistics.median(one.measured for one in alone):.4f}"),
        ("ratio of its speeds, reporting to Steelyard and not", f"{speeds[1] / speeds[0]:.3f}"),
    ]


def train(client: Client, data: Path, options: argparse.Namespace, *, project: str) -> Trained:
    """One `yolo train`; a project that is a path stays on the disk, and `team/shelf` is Steelyard's."""
    name = uuid.uuid4().hex[:8]
    client.yolo(
        "detect", "train", f"data={data / 'data.yaml'}", f"model={NETWORK}.yaml", f"epochs={options.epochs}",
        f"imgsz={options.side}", f"batch={options.batch}", f"project={project}", f"name={name}",
        "workers=0", "device=cpu", "plots=False", "amp=False", "cache=ram",
    )  # fmt: skip
    [results] = client.folder.parent.rglob(f"{name}*/results.csv")
    with results.open() as file:
        last = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)][-1]
    return Trained(float(last["time"]), float(last["metrics/mAP50-95(B)"]))
