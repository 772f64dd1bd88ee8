"""Lists in pages: newest first, continued by a cursor that stays right while rows are added."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from steelyard_contracts.errors import InvalidInputError

Row = TypeVar("Row", bound=Model)

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


def page_of(rows: QuerySet[Row], *, field: str, cursor: str | None, limit: int) -> tuple[list[Row], str | None]:
    """The rows after `cursor`, by `field` and then key, descending; and the cursor to go on with.

    Raises: InvalidInputError for a cursor that is none.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    if cursor:
        value, key = _read(cursor)
        rows = rows.filter(Q(**{f"{field}__lt": value}) | Q(**{field: value, "pk__lt": key}))
    found = list(rows.order_by(f"-{field}", "-pk")[: limit + 1])
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], _write(getattr(last, field), last.pk)


def _write(value: Any, key: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return base64.urlsafe_b64encode(f"{text}|{key}".encode()).decode()


def _read(cursor: str) -> tuple[Any, str]:
    try:
        text, _, key = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        return (int(text) if text.isdigit() else datetime.fromisoformat(text)), key
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"{cursor!r} is no cursor of this list; begin again without one.") from error
