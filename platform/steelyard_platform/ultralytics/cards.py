"""The card that a project begins with, when a training made it: what it is, in the words that Hub clients filter by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from steelyard_platform.jobs.models import Job
from steelyard_platform.ultralytics import reports

# A task of the client's, in the Hub's word for it.
_PIPELINES = {"detect": "object-detection", "classify": "image-classification", "segment": "image-segmentation"}
_CLASSES_SHOWN = 40


def task_of(run: Job) -> str:
    """`detect`, `classify` and so on, as the training's arguments have it; empty when they do not."""
    return str(run.spec.get("config", {}).get("task") or "")


def card_for(run: Job, data: Mapping[str, Any]) -> str:
    """README.md. Whoever knows more writes over it."""
    task = task_of(run)
    metadata: dict[str, Any] = {"library_name": "ultralytics", "tags": ["ultralytics", *([task] if task else [])]}
    if task in _PIPELINES:
        metadata["pipeline_tag"] = _PIPELINES[task]
    head = yaml.safe_dump(metadata, sort_keys=True).strip()
    classes = [str(name)[:100] for name in data.get("classNames") or []][:_CLASSES_SHOWN]
    lines = ["---", head, "---", "", f"# {run.run.project.name if run.run.project else run.run.name}", ""]
    lines.append(
        "Weights that Ultralytics trained. Each version is what one run ended with; its lineage names the data."
    )
    if classes:
        lines += ["", "Classes: " + ", ".join(_plain(name) for name in classes) + "."]
    metrics = reports.mapping(reports.mapping(data.get("results")).get("metrics"))
    if measures := reports.measures_of(metrics):
        lines += ["", f"The first run, {run.run.name}, ended with:", ""]
        lines += [f"- {name}: {value:.4g}" for name, value in measures.items()]
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    """A class may be called anything; in a card it is a word, not markup."""
    return "".join(letter if letter.isalnum() or letter in " _-" else " " for letter in name).strip() or "?"
