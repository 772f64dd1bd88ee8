"""Model cards that the jobs write: front matter for tools, a table for people."""

from __future__ import annotations

import json

from steelyard_contracts.tasks import Task
from steelyard_contracts.training import TrainSpec

_WHAT = {
    Task.CLASSIFICATION: "An image classifier",
    Task.DETECTION: "An object detector",
    Task.SEGMENTATION: "A network that gives each pixel a class",
}


def model_card(
    spec: TrainSpec,
    *,
    labels: list[str],
    metrics: dict[str, float],
    history: list[str] | None = None,
) -> str:
    """README.md of a trained version. The front matter uses the Hub's keys.

    Args:
        spec: what was asked for.
        labels: the classes.
        metrics: of the validation split.
        history: sentences on how it came about, such as what was taken from the base.
    """
    is_adapter = spec.keeps_adapter
    dataset, _, dataset_version = spec.dataset.partition("@")
    lines = [
        "---",
        f"library_name: {'peft' if is_adapter else 'transformers'}",
        f"pipeline_tag: {spec.task}",
        "datasets:",
        f"- {dataset}",
    ]
    if spec.base:
        relation = "adapter" if is_adapter else "finetune"
        lines += [f"base_model: {spec.base.partition('@')[0]}", f"base_model_relation: {relation}"]
    measured = "".join(f"| {name} | {value:.4f} |\n" for name, value in metrics.items())
    settings = json.dumps(spec.model_dump(mode="json", exclude={"kind"}, exclude_defaults=True), indent=2)
    origin = f"fine-tuned from `{spec.base}`" if spec.base else "trained from scratch"
    told = "".join(f"- {sentence}\n" for sentence in history or [])
    return (
        "\n".join(lines)
        + f"""
---

# {spec.output.partition("/")[2]}

{_WHAT[spec.task]}, {origin} on `{dataset}` {dataset_version}.
It tells apart: {", ".join(labels)}.

| on the validation split | |
|---|---|
{measured}
## How it was made

{told}
```json
{settings}
```
"""
    )


def variant_card(*, model: str, variant: str, dataset: str, table: list[tuple[str, str]]) -> str:
    """README.md of a variant."""
    relation = "quantized" if variant != "onnx-fp32" else "finetune"
    repository = model.partition("@")[0]
    rows = "".join(f"| {name} | {value} |\n" for name, value in table)
    return f"""---
library_name: onnx
pipeline_tag: image-classification
base_model: {repository}
base_model_relation: {relation}
datasets:
- {dataset.partition("@")[0]}
---

# {repository.partition("/")[2]}, {variant}

Made from `{model}` and measured on the validation split of `{dataset}` in ONNX Runtime on one thread.

| | |
|---|---|
{rows}"""
