"""What the platform costs a training, beside the same network trained by a plain loop in torch.

    python -m benchmarks.training [--pictures 2000] [--epochs 6] [--rounds 3] [--model resnet-nano] [--side 32]
    python -m benchmarks.training --model rt-detr-v2-nano --side 64 --batch 16 --pictures 400 --ultralytics

Ours runs in a whole installation of its own: queue, worker, metrics at every step, checkpoints after every epoch. The
peer is `plain.py`, alone in a process. Both train on one thread; rounds alternate, medians are compared. Afterwards:
the time from a request to the first step, and from a kill -9 to the next step after the resumed checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from PIL import Image

import steelyard
from benchmarks.machine import machine
from benchmarks.training.ultralytics_peer import beside_ultralytics
from steelyard_contracts.jobs import JobState
from steelyard_contracts.tasks import Task
from steelyard_contracts.zoo import zoo_model
from tests.support.installations import RunningInstallation
from tests.support.vision_datasets import draw_splits, write_coco

_CLASSES = 10
# Where the tests' installations are more impatient than one that somebody uses.
_SETTINGS = {"STEELYARD_WORKER_THREADS": "1", "STEELYARD_LEASE_SECONDS": "60", "STEELYARD_RETRY_PAUSE_SECONDS": "10"}
_HEADLINES = {Task.CLASSIFICATION: "accuracy", Task.DETECTION: "map50_95"}


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    measured: float


def main() -> None:
    options = _options()
    on = machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_dataset(Path(scratch) / "data", options)
        running = RunningInstallation(Path(scratch) / "hub", _SETTINGS)
        running.start()
        try:
            with steelyard.connect(running.url, running.token, quiet=True) as hub:
                hub.push(folder, "datasets:/lab/bench")
                rows = [*compared(hub, folder, options), *waits(hub, running, options)]
            if options.ultralytics:
                rows += beside_ultralytics(running, Path(scratch), boxed_counts(options), options)
        finally:
            running.stop()
    page = table(rows, options, on)
    print(page)
    if options.results:
        options.results.write_text(page)


def compared(hub: steelyard.Client, folder: Path, options: argparse.Namespace) -> list[tuple[str, str]]:
    """Rounds of both, one after the other."""
    ours, theirs = [], []
    for number in range(options.rounds):
        ours.append(train_ours(hub, options, number))
        theirs.append(train_plainly(folder, options))
    seen = options.pictures * options.epochs
    ours_speed, their_speed = (seen / statistics.median(one.seconds for one in runs) for runs in (ours, theirs))
    ours_right, their_right = (statistics.median(one.measured for one in runs) for runs in (ours, theirs))
    headline = _HEADLINES[zoo_model(options.model).task]
    return [
        ("images/s, ours", f"{ours_speed:.0f}"),
        ("images/s, a plain loop", f"{their_speed:.0f}"),
        ("ratio of the speeds", f"{ours_speed / their_speed:.3f}"),
        (f"{headline}, ours and plain", f"{ours_right:.4f}, {their_right:.4f}"),
    ]


def train_ours(hub: steelyard.Client, options: argparse.Namespace, number: int) -> Run:
    job = hub.wait(hub.train(**_fields(options), output=f"lab/round-{number}").id)
    if job.state is not JobState.SUCCEEDED:
        raise SystemExit(f"ours failed: {job.error}")
    return Run(job.result["train_seconds"], job.result[_HEADLINES[zoo_model(options.model).task]])


def train_plainly(folder: Path, options: argparse.Namespace) -> Run:
    arguments = [str(folder), str(options.epochs), str(options.batch), options.model, str(options.side)]
    command = [sys.executable, "-m", "benchmarks.training.plain", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def waits(hub: steelyard.Client, running: RunningInstallation, options: argparse.Namespace) -> list[tuple[str, str]]:
    """From a request to the first step, and from a kill to the next one."""
    fields = {**_fields(options), "epochs": 10_000, "checkpoint_seconds": 2}
    started = time.perf_counter()
    job = hub.train(**fields, output="lab/waits")
    first = _until(lambda: _last_step(hub, job.id) > 0, started)
    _until(lambda: any("epoch 3/" in line.text for line in hub.logs(job.id)), started)
    step = _last_step(hub, job.id)
    os.kill(running.job_processes()[0], signal.SIGKILL)
    killed = time.perf_counter()
    _until(lambda: hub.job(job.id).attempt > 1, killed)
    resumed = _until(lambda: _last_step(hub, job.id) > step, killed)
    hub.cancel(job.id)
    return [
        ("from a request to the first step that is seen", f"{first:.1f} s"),
        ("from kill -9 to the step after the last one seen", f"{resumed:.1f} s"),
    ]


def _fields(options: argparse.Namespace) -> dict[str, object]:
    return {
        "dataset": "lab/bench", "task": zoo_model(options.model).task, "model": options.model,
        "image_size": options.side, "epochs": options.epochs, "batch_size": options.batch, "keep": "last",
    }  # fmt: skip


def _last_step(hub: steelyard.Client, job: UUID) -> int:
    series = hub.metrics(job).get("train/loss")
    return max(series.steps, default=0) if series else 0


def _until(condition: Callable[[], bool], since: float, seconds: float = 300.0) -> float:
    while time.perf_counter() - since < seconds:
        if condition():
            return time.perf_counter() - since
        time.sleep(0.05)
    raise SystemExit("it did not happen in time")


def write_dataset(root: Path, options: argparse.Namespace) -> Path:
    if zoo_model(options.model).task is Task.CLASSIFICATION:
        return write_pictures(root, options.pictures, options.side)
    return write_coco(root, draw_splits(boxed_counts(options), size=(options.side, options.side)))


def boxed_counts(options: argparse.Namespace) -> dict[str, int]:
    return {"train": options.pictures, "validation": max(20, options.pictures // 5)}


def write_pictures(root: Path, count: int, side: int) -> Path:
    """Ten kinds of waves under noise, as grey PNGs."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side] / side
    for split, number in (("train", count), ("validation", max(_CLASSES * 2, count // 5))):
        for index in range(number):
            label = index % _CLASSES
            folder = root / split / f"wave-{label}"
            folder.mkdir(parents=True, exist_ok=True)
            angle = np.pi * label / _CLASSES
            phase = generator.uniform(0, 2 * np.pi)
            wave = np.sin(8 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) + phase)
            noisy = 128 + 60 * wave + generator.normal(0, 50, (side, side))
            Image.fromarray(noisy.clip(0, 255).astype("uint8")).save(folder / f"{index}.png")
    return root


def table(rows: list[tuple[str, str]], options: argparse.Namespace, on: str) -> str:
    about = (
        f"{options.model} at {options.side} px, {options.pictures} pictures, {options.epochs} epochs, batches of "
        f"{options.batch}, one thread, medians of {options.rounds} rounds. {on}"
    )
    lines = [about, "", "| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)]
    return "\n".join(lines) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="resnet-nano")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--ultralytics", action="store_true", help="a detector's other peer as well: yolo train")
    parser.add_argument("--results", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
