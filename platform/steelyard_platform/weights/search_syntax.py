"""What people write into the search box. Pure: a test needs no server.

resnet cats                          words: each must begin a word of the name, the tags or the card
tag:vision task:image-classification library:transformers license:mit language:en
framework:onnx                       what the weights of the newest version are, by their content
size<500MB size>=1GiB                bytes of the newest version
accuracy>0.9 latency_ms_p50<=30      what was measured, on any dataset that the reader may read
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.repos.words import words_of

MOST_CONDITIONS, LONGEST_TEXT = 20, 500
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_BOUND = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_/]{0,59})(?P<sign><=|>=|<|>)(?P<value>.*)")
_NUMBER = re.compile(r"(?P<number>-?\d{1,18}(?:\.\d{1,18})?(?:e-?\d{1,2})?)(?P<unit>[a-z]*)", re.IGNORECASE)
_AROUND_A_SIGN = re.compile(r"\s*(<=|>=|<|>)\s*")
SIZE, FRAMEWORK = "size", "framework"
# A key of the box, and in which spellings a card's tag can say it.
_KEYS = {
    "tag": ("{}",),
    "task": ("{}", "task_categories:{}", "task_ids:{}"),
    "library": ("{}",),
    "license": ("license:{}",),
    "language": ("{}", "language:{}"),
    "dataset": ("dataset:{}",),
    "base_model": ("base_model:{}",),
}

Sign = Literal["<", "<=", ">", ">="]
_LOOKUPS: dict[Sign, str] = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


class Sort(StrEnum):
    """`metric` is by the first measure that is asked for: the largest first for `>`, the smallest first for `<`."""

    UPDATED = "updated"
    CREATED = "created"
    NAME = "name"
    SIZE, FRAMEWORK = "size", "framework"
    DOWNLOADS = "downloads"
    METRIC = "metric"


@dataclass(frozen=True, slots=True)
class Bound:
    """`accuracy > 0.9`, or `size < 1000000`."""

    name: str
    sign: Sign
    value: float

    @property
    def lookup(self) -> str:
        return _LOOKUPS[self.sign]

    @property
    def wants_more(self) -> bool:
        return self.sign in {">", ">="}


@dataclass(frozen=True, slots=True)
class Search:
    """`name`: what the name must hold. `tags`: for each condition the spellings of which a card must have one."""

    name: str = ""
    words: tuple[str, ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    frameworks: tuple[str, ...] = ()
    sizes: tuple[Bound, ...] = ()
    measures: tuple[Bound, ...] = ()
    sort: Sort = Sort.UPDATED


@dataclass(slots=True)
class _Found:
    words: list[str] = field(default_factory=list)
    tags: list[tuple[str, ...]] = field(default_factory=list)
    frameworks: list[str] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)

    def add(self, key: str, value: str) -> None:
        if key == FRAMEWORK:
            self.frameworks.append(value)
        else:
            self.tags.append(_spellings(key, value))

    def __len__(self) -> int:
        return len(self.words) + len(self.tags) + len(self.frameworks) + len(self.bounds)


def parse_search(
    text: str = "",
    *,
    name: str = "",
    tags: Iterable[tuple[str, str]] = (),
    bounds: Iterable[str] = (),
    sort: Sort = Sort.UPDATED,
) -> Search:
    """The box's text, and the same said apart: `tags` as (key, value), `bounds` as `accuracy>0.9` or `size<1GB`.

    Raises: InvalidInputError, which says what was not understood.
    """
    if (length := max(len(text), len(name))) > LONGEST_TEXT:
        raise InvalidInputError(f"The search is {length} characters long; at most {LONGEST_TEXT}.")
    found = _Found()
    for part in _AROUND_A_SIGN.sub(r"\1", text).split():
        key, colon, value = part.partition(":")
        if _BOUND.fullmatch(part):
            found.bounds.append(parse_bound(part))
        elif colon and value and key.lower() in {FRAMEWORK, *_KEYS}:
            found.add(key.lower(), value)
        else:
            found.words += words_of(part)
    for key, value in tags:
        if value.strip():
            found.add(key, value.strip())
    found.bounds += [parse_bound(_AROUND_A_SIGN.sub(r"\1", bound).strip()) for bound in bounds if bound.strip()]
    if len(found) > MOST_CONDITIONS:
        raise InvalidInputError(f"The search has more than {MOST_CONDITIONS} words and conditions; leave some out.")
    search = Search(
        name=name,
        words=tuple(dict.fromkeys(found.words)),
        tags=tuple(found.tags),
        frameworks=tuple(found.frameworks),
        sizes=tuple(bound for bound in found.bounds if bound.name == SIZE),
        measures=tuple(bound for bound in found.bounds if bound.name != SIZE),
    )
    if sort is Sort.METRIC and not search.measures:
        raise InvalidInputError("To sort by a measure, ask for one, such as accuracy>0.", field="sort")
    return replace(search, sort=sort)


def parse_bound(text: str) -> Bound:
    """Raises: InvalidInputError."""
    match = _BOUND.fullmatch(text)
    number = _NUMBER.fullmatch(match["value"]) if match else None
    if match is None or number is None:
        raise InvalidInputError(f"{text!r} is no condition; write, for example, accuracy>0.9 or size<500MB.")
    name = match["name"].lower() if match["name"].lower() == SIZE else match["name"]
    unit = number["unit"].lower()
    if unit not in (_UNITS if name == SIZE else {""}):
        asked = "a size such as 500MB or 1.5GB" if name == SIZE else "a plain number"
        raise InvalidInputError(f"{text!r} does not end in {asked}.")
    value = float(number["number"]) * _UNITS[unit]
    if not math.isfinite(value):
        raise InvalidInputError(f"{text!r} does not end in a number that can be compared with.")
    return Bound(name, _sign(match["sign"]), value)


def _sign(text: str) -> Sign:
    return next(sign for sign in _LOOKUPS if sign == text)


def _spellings(key: str, value: str) -> tuple[str, ...]:
    said = dict.fromkeys((value, value.lower()))
    return tuple(spelling.format(one) for spelling in _KEYS[key] for one in said)
