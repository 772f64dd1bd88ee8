"""What people log, as what a series, a configuration and a picture can be."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from typing import Any

from steelyard_contracts.tracking import plain_json

_DEEPEST = 8


def flat(metrics: Mapping[Any, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """`{"val": {"loss": 1}}` as `val/loss`."""
    for key, value in metrics.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            yield from flat(value, f"{before}{key}/", depth + 1)
        else:
            yield f"{before}{key}", value


def as_number(value: Any) -> float | None:
    """Of a number, a truth, an array or a tensor with one element; None for what is no number."""
    if isinstance(value, str | bytes):
        return None
    try:
        return float(value.detach() if hasattr(value, "detach") else value)  # torch warns of a loss with its gradient
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def in_json(value: float) -> str:
    """As the wire writes it."""
    if math.isfinite(value):
        return repr(value)
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'


def as_png(value: Any) -> bytes | None:
    """Of a picture of PIL's or a figure of matplotlib's; None for what is no picture."""
    buffer = io.BytesIO()
    if hasattr(value, "savefig"):
        value.savefig(buffer, format="png")
        return buffer.getvalue()
    if hasattr(value, "save") and hasattr(value, "size") and hasattr(value, "mode"):
        value.save(buffer, format="PNG")
        return buffer.getvalue()
    return None


def as_config(value: Any) -> dict[str, Any]:
    """Of a mapping, a namespace of argparse's, a dataclass or anything else with attributes."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(plain_json(value))
    if hasattr(value, "to_dict"):
        return dict(plain_json(value.to_dict()))
    if hasattr(value, "__dict__"):
        return {key: plain_json(part) for key, part in vars(value).items() if not key.startswith("_")}
    raise TypeError(f"A configuration is a dict of names and values, not a {type(value).__name__}.")
