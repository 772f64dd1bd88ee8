"""What every message between the parts has in common."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError


class WireModel(BaseModel):
    """An unknown field is a mistake worth hearing about."""

    model_config = ConfigDict(extra="forbid")


def faults_in_words(error: ValidationError, *, within: int = 0) -> str:
    """What is wrong with a message, each fault behind the field that it is of: `epochs: Input should be …; …`.

    `within`: so many parts of a field's place say nothing to whoever wrote it.
    """
    return listed_in_words((fault["loc"][within:], fault["msg"]) for fault in error.errors())


def listed_in_words(faults: Iterable[tuple[tuple[int | str, ...], str]]) -> str:
    """The same of places and what is wrong there; a field that may be one of several things is named once."""
    by_place: dict[str, list[str]] = {}
    for place, what in faults:
        by_place.setdefault(_place(place), []).append(what)
    return "; ".join(_fault_in_words(where, ", or ".join(dict.fromkeys(said))) for where, said in by_place.items())


# What pydantic calls the possibilities of a field that may be one of several.
_POSSIBILITY = re.compile(
    r"constrained-\w+|(?:literal|list|dict|tuple|union|function-\w+|tagged-union)\[.*|int|float|str|bool"
)


def _place(parts: tuple[int | str, ...]) -> str:
    kept = list(map(str, parts))
    while len(kept) > 1 and _POSSIBILITY.fullmatch(kept[-1]):
        kept.pop()
    return ".".join(kept)


def _fault_in_words(where: str, what: str) -> str:
    words = what.removeprefix("Value error, ")
    return f"{where}: {words}" if where else words
