"""What every message between the parts has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class WireModel(BaseModel):
    """An unknown field is a mistake worth hearing about."""

    model_config = ConfigDict(extra="forbid")


def faults_in_words(error: ValidationError, *, within: int = 0) -> str:
    """What is wrong with a message, each fault behind the field that it is of: `epochs: Input should be …; …`.

    `within`: so many parts of a field's place say nothing to whoever wrote it.
    """
    faults = ((".".join(map(str, fault["loc"][within:])), fault["msg"]) for fault in error.errors())
    return "; ".join(_fault_in_words(where, what) for where, what in faults)


def _fault_in_words(where: str, what: str) -> str:
    words = what.removeprefix("Value error, ")
    return f"{where}: {words}" if where else words
