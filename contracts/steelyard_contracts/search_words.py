"""How people write what may vary in a search, one parameter each.

A range is `epochs=5..20`, one by its logarithm `learning_rate=1e-4..1e-1:log`, one in steps
`weight_decay=0..0.3:step=0.1`; choices are `batch_size=16,32,64`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from steelyard_contracts.errors import InvalidInputError

_RANGE = re.compile(r"(?P<low>[-+.\deE]+)\.\.(?P<high>[-+.\deE]+?)(?::(?P<how>log|step=(?P<step>[-+.\deE]+)))?")


def parse_space(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`SearchSpec.space`. Raises: InvalidInputError, also for a parameter that is there twice."""
    space: dict[str, dict[str, Any]] = {}
    for name, parameter in map(parse_parameter, texts):
        if name in space:
            raise InvalidInputError(f"{name!r} is to vary in two ways; name each parameter once.")
        space[name] = parameter
    return space


def parse_parameter(text: str) -> tuple[str, dict[str, Any]]:
    """The parameter's name, and what `SearchSpec.space` says of it. Raises: InvalidInputError."""
    name, values = divide(text)
    found = _RANGE.fullmatch(values)
    if found is None:
        return name, {"kind": "choices", "choices": _choices(values)}
    numbers = {part: found[part] for part in ("low", "high", "step") if found[part] is not None}
    is_whole = all(number.lstrip("+-").isdecimal() for number in numbers.values())
    return name, {"kind": "int" if is_whole else "float", **numbers, "log": found["how"] == "log"}


def divide(text: str) -> tuple[str, str]:
    """Name and value. Raises: InvalidInputError."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign or not name or not value:
        raise InvalidInputError(f"{text!r} is no NAME=VALUE, such as epochs=5..20")
    return name, value


def read_value(text: str) -> Any:
    """JSON where it is JSON, such as 16, true or null; else the words as they are."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _choices(text: str) -> list[Any]:
    """Divided by commas; a JSON list is one already, such as `[[16, 32], [32, 64]]`."""
    if text.startswith("["):
        found = read_value(text)
        if isinstance(found, list):
            return found
    return [read_value(part.strip()) for part in text.split(",")]
