"""What a card itself says of its model: the measures of its `model-index`. Nobody here has checked them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

MOST_CLAIMS = 100
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Claim:
    metric: str
    value: float | str
    dataset: str
    task: str


def claims_of(metadata: dict[str, Any]) -> list[Claim]:
    """Of metadata of any shape; what is not as the Hub writes it is passed over."""
    return list(islice(_claims(metadata), MOST_CLAIMS))


def _claims(metadata: dict[str, Any]) -> Iterator[Claim]:
    for model in _mappings(metadata.get("model-index")):
        for result in _mappings(model.get("results")):
            dataset, task = _mapping(result.get("dataset")), _mapping(result.get("task"))
            parts = (
                _text(dataset, "name") or _text(dataset, "type"),
                _text(dataset, "config"),
                _text(dataset, "split"),
            )
            for metric in _mappings(result.get("metrics")):
                name, value = _text(metric, "name") or _text(metric, "type"), metric.get("value")
                if name and isinstance(value, int | float | str) and not isinstance(value, bool):
                    yield Claim(
                        metric=name,
                        value=value[:_LONGEST] if isinstance(value, str) else value,
                        dataset=" · ".join(filter(None, parts)),
                        task=_text(task, "name") or _text(task, "type"),
                    )


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(mapping: dict[str, Any], key: str) -> str:
    value = mapping.get(key)
    return value[:_LONGEST] if isinstance(value, str) else ""
