"""Lists in pages, continued by a cursor that stays right while rows are added; newest first unless asked otherwise."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

from steelyard_contracts.errors import InvalidInputError

Row = TypeVar("Row", bound=Model)

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_MOST_DIGITS = 18  # of a whole number in a database


def moment_or_number(text: str) -> datetime | int:
    return int(text) if text.isdigit() else datetime.fromisoformat(text)


def whole_number(text: str) -> int | None:
    """What somebody may mean by a row's number; None for anything that no row can have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def page_of(
    rows: QuerySet[Row],
    *,
    field: str,
    cursor: str | None,
    limit: int,
    ascending: bool = False,
    read: Callable[[str], Any] = moment_or_number,
) -> tuple[list[Row], str | None]:
    """The rows after `cursor`, by `field` and then key, descending unless `ascending`; and the cursor to go on with.

    `read` makes the field's value of what a cursor holds of it.

    Raises: InvalidInputError for a cursor that is none.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    beyond, sign = ("gt", "") if ascending else ("lt", "-")
    if cursor:
        value, key = _read(cursor, read, rows.model)
        rows = rows.filter(Q(**{f"{field}__{beyond}": value}) | Q(**{field: value, f"pk__{beyond}": key}))
    found = list(rows.order_by(f"{sign}{field}", f"{sign}pk")[: limit + 1])
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], _write(getattr(last, field), last.pk)


def _write(value: Any, key: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return base64.urlsafe_b64encode(f"{text}|{key}".encode()).decode()


def _read(cursor: str, read: Callable[[str], Any], model: type[Model]) -> tuple[Any, Any]:
    try:
        # PostgreSQL takes no NUL in a text; nothing that a list is sorted by has one.
        text, _, key = base64.urlsafe_b64decode(cursor.encode()).decode().replace("\0", "").partition("|")
        return read(text), model._meta.pk.to_python(key)  # noqa: SLF001 - Django documents _meta
    except (binascii.Error, ValueError, ValidationError) as error:
        raise InvalidInputError(f"{cursor!r} is no cursor of this list; begin again without one.") from error
