"""Model cards that the jobs write: front matter for tools, a table for people."""

from __future__ import annotations

import json

from steelyard_contracts.jobs import TrainSpec


def model_card(spec: TrainSpec, *, labels: list[str], metrics: dict[str, float]) -> str:
    """README.md of a trained version. The front matter uses the Hub's keys."""
    dataset, _, dataset_version = spec.dataset.partition("@")
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: image-classification",
        "datasets:",
        f"- {dataset}",
    ]
    if spec.base:
        lines += [f"base_model: {spec.base.partition('@')[0]}", "base_model_relation: finetune"]
    measured = "".join(f"| {name} | {value:.4f} |\n" for name, value in metrics.items())
    settings = json.dumps(spec.model_dump(mode="json", exclude={"kind"}, exclude_none=True), indent=2)
    origin = f"fine-tuned from `{spec.base}`" if spec.base else "trained from scratch"
    return (
        "\n".join(lines)
        + f"""
---

# {spec.output.partition("/")[2]}

An image classifier, {origin} on `{dataset}` {dataset_version}.
It tells apart: {", ".join(labels)}.

| on the validation split | |
|---|---|
{measured}
## How it was made

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
