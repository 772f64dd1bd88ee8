"""MLflow's filter language, as its documentation describes it. Pure.

    parse_filter("metrics.acc > 0.9 AND params.`lr rate` = '0.1'", RUNS)
    parse_order("metrics.acc DESC", RUNS)

A condition compares one field with one value; conditions are joined by AND. A key that is no plain word stands between
backticks or double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from steelyard_contracts.errors import InvalidInputError

Value = str | float | tuple[str, ...] | None
_LONGEST, _MOST = 10_000, 100

_FIELD = re.compile(
    r"""\s*(?P<entity>[A-Za-z_]\w*|`[^`]+`|"[^"]+")(?:\s*\.\s*(?P<key>`[^`]+`|"[^"]+"|[^\s=<>!(),'"`]+))?"""
)
_OPERATOR = re.compile(
    r"\s*(<=|>=|!=|=|<|>|(?:NOT\s+IN|IN|NOT\s+LIKE|ILIKE|LIKE|IS\s+NOT\s+NULL|IS\s+NULL)\b)", re.IGNORECASE
)
_TEXT = r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\""
_VALUE = re.compile(rf"\s*(?:(?P<text>{_TEXT})|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))(?!\w)")
_LIST = re.compile(rf"\s*\(\s*((?:{_TEXT})(?:\s*,\s*(?:{_TEXT}))*)\s*,?\s*\)")
_EACH = re.compile(_TEXT)
_AND = re.compile(r"\s+AND\b", re.IGNORECASE)
_ORDER = re.compile(r"\s*(?:(ASC|DESC)\b)?\s*", re.IGNORECASE)

ORDERED = frozenset({"=", "!=", "<", "<=", ">", ">="})
TEXTUAL = frozenset({"=", "!=", "LIKE", "ILIKE"})
LISTED = frozenset({"IN", "NOT IN"})
PRESENT = frozenset({"IS NULL", "IS NOT NULL"})


@dataclass(frozen=True, slots=True)
class Language:
    """What may be asked of one kind of thing.

    `spaces`: the words before a dot, and the kind of field each means; `attributes`: those that stand alone, by every
    spelling, with the name that is used here; `numbers`: the attributes and spaces that compare as numbers.
    """

    name: str
    spaces: Mapping[str, str]
    attributes: Mapping[str, str]
    numbers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """`space` is "attribute" for a field that stands alone; `key` is then its name."""

    space: str
    key: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Order:
    space: str
    key: str
    descending: bool


_TAGS = {"tag": "tag", "tags": "tag"}
_ATTRIBUTES = {"attribute": "attribute", "attributes": "attribute", "attr": "attribute"}
_MOMENTS = {
    "creation_time": "created", "creation_timestamp": "created", "created": "created",
    "last_update_time": "updated", "last_updated_time": "updated", "last_updated_timestamp": "updated",
    "last_updated": "updated", "timestamp": "updated",
}  # fmt: skip
_NUMBERS = frozenset({"created", "updated", "start_time", "end_time", "version_number", "metric"})

RUNS = Language(
    "a run",
    {
        **_TAGS, **_ATTRIBUTES, "run": "attribute", "metric": "metric", "metrics": "metric", "param": "param",
        "params": "param", "parameter": "param", "parameters": "param", "dataset": "dataset", "datasets": "dataset",
    },
    {
        "run_id": "run_id", "run id": "run_id", "run_name": "run_name", "run name": "run_name", "name": "run_name",
        "status": "status", "start_time": "start_time", "created": "start_time", "end_time": "end_time",
        "user_id": "user_id", "user": "user_id", "artifact_uri": "artifact_uri",
    },
    _NUMBERS,
)  # fmt: skip
EXPERIMENTS = Language(
    "an experiment", {**_TAGS, **_ATTRIBUTES}, {"name": "name", "experiment_id": "id", **_MOMENTS}, _NUMBERS
)
MODELS = Language("a registered model", {**_TAGS, **_ATTRIBUTES}, {"name": "name", **_MOMENTS}, _NUMBERS)
VERSIONS = Language(
    "a model version",
    {**_TAGS, **_ATTRIBUTES},
    {
        "name": "name", "version_number": "version_number", "version": "version_number", "run_id": "run_id",
        "source_path": "source", "source": "source", **_MOMENTS,
    },
    _NUMBERS,
)  # fmt: skip
LOGGED_MODELS = Language(
    "a logged model",
    {
        **_TAGS, **_ATTRIBUTES, "metric": "metric", "metrics": "metric", "param": "param", "params": "param",
    },
    {
        "name": "name", "model_id": "model_id", "model_type": "model_type", "status": "status",
        "source_run_id": "source_run_id", **_MOMENTS,
    },
    _NUMBERS,
)  # fmt: skip


def parse_filter(text: str | None, language: Language) -> list[Condition]:
    """Raises: InvalidInputError, with what was not understood."""
    text = (text or "").strip()
    if len(text) > _LONGEST:
        raise InvalidInputError(f"The filter is {len(text)} letters long; at most {_LONGEST}.")
    found: list[Condition] = []
    position = 0
    while position < len(text):
        condition, position = _condition(text, position, language)
        found.append(condition)
        if position < len(text):
            joint = _AND.match(text, position)
            if joint is None or not text[joint.end() :].strip():
                raise _not_understood(text, position, "conditions are joined by AND alone")
            position = joint.end()
    if len(found) > _MOST:
        raise InvalidInputError(f"The filter has {len(found)} conditions; at most {_MOST}.")
    return found


def parse_order(text: str, language: Language) -> Order:
    """Raises: InvalidInputError."""
    field = _FIELD.match(text)
    if field is None:
        raise InvalidInputError(f"Invalid order_by clause {text!r}: write a field, then ASC or DESC.")
    space, key = _meaning(field["entity"], field["key"], language)
    direction = _ORDER.fullmatch(text, field.end())
    if direction is None:
        raise InvalidInputError(f"Invalid order_by clause {text!r}: write a field, then ASC or DESC.")
    return Order(space, key, (direction[1] or "").upper() == "DESC")


def as_pattern(like: str) -> str:
    """LIKE's pattern as a regular expression of both databases: % is anything, _ is one letter."""
    return "^" + "".join({"%": ".*", "_": "."}.get(letter) or re.escape(letter) for letter in like) + "$"


def _condition(text: str, position: int, language: Language) -> tuple[Condition, int]:
    field = _FIELD.match(text, position)
    if field is None:
        raise _not_understood(text, position, "a field was expected")
    space, key = _meaning(field["entity"], field["key"], language)
    compared = _OPERATOR.match(text, field.end())
    if compared is None:
        raise _not_understood(text, field.end(), "an operator such as =, !=, <, >, LIKE, ILIKE or IN was expected")
    operator = " ".join(compared[1].upper().split())
    value, end = _value(text, compared.end(), operator)
    condition = Condition(space, key, operator, value)
    _check(condition, language)
    return condition, end


def _meaning(entity: str, key: str | None, language: Language) -> tuple[str, str]:
    name = _bare(entity)
    if key is not None:
        space = language.spaces.get(name.lower())
        if space is None:
            raise InvalidInputError(f"Invalid entity type {name!r}: {language.name} has {_listed(language.spaces)}.")
        if space != "attribute":
            return space, _bare(key)
        name = _bare(key)
    attribute = language.attributes.get(name.lower()) or language.attributes.get(name)
    if attribute is None:
        raise InvalidInputError(f"Invalid attribute key {name!r}: {language.name} has {_listed(language.attributes)}.")
    return "attribute", attribute


def _value(text: str, position: int, operator: str) -> tuple[Value, int]:
    if operator in PRESENT:
        return None, position
    if operator in LISTED:
        listed = _LIST.match(text, position)
        if listed is None:
            raise _not_understood(text, position, "a list of quoted values in brackets was expected")
        return tuple(_bare(one) for one in _EACH.findall(listed[1])), listed.end()
    found = _VALUE.match(text, position)
    if found is None:
        raise _not_understood(text, position, "a number or a value in quotes was expected")
    return (float(found["number"]) if found["number"] else _bare(found["text"])), found.end()


def _check(condition: Condition, language: Language) -> None:
    """Raises: InvalidInputError when the field cannot be compared so."""
    is_number = {condition.space, condition.key} & language.numbers and condition.space in {"attribute", "metric"}
    if condition.space == "attribute" and condition.key not in language.numbers:
        is_number = set()
    if is_number:
        if condition.operator not in ORDERED or not isinstance(condition.value, float):
            raise InvalidInputError(
                f"{condition.key!r} is a number: compare it with one, by =, !=, <, <=, > or >=.", key=condition.key
            )
        return
    allowed = TEXTUAL | LISTED | (PRESENT if condition.space in {"tag", "param"} else frozenset())
    if condition.operator not in allowed or isinstance(condition.value, float):
        raise InvalidInputError(
            f"Invalid comparison of {condition.key!r}: it is a text, and compares by =, !=, LIKE, ILIKE or IN with a "
            "value in quotes.",
            key=condition.key,
        )


def _bare(text: str) -> str:
    """Without its quotes, and without what PostgreSQL keeps in no text."""
    mark = text[:1]
    if mark in {"'", '"', "`"} and len(text) > 1:
        text = text[1:-1].replace(mark * 2, mark)
    return text.replace("\0", "")


def _listed(names: Mapping[str, str]) -> str:
    return ", ".join(sorted(names))


def _not_understood(text: str, position: int, what: str) -> InvalidInputError:
    return InvalidInputError(f"Invalid filter {text!r}: at {text[position : position + 40].strip()!r}, {what}.")
