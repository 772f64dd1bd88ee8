"""Many keys a few at a time: databases take only so many values in one query, and long ones should not wait for all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.expressions import RawSQL

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)

SIZE = 500


def batches(items: Iterable[Item], size: int = SIZE) -> Iterator[list[Item]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def pages_of_keys(rows: QuerySet[Row], size: int = SIZE) -> Iterator[list[Any]]:
    """The primary keys in order, page by page; right also while rows come and go between the pages."""
    page: list[Any] = list(rows.order_by("pk").values_list("pk", flat=True)[:size])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1]).order_by("pk").values_list("pk", flat=True)[:size])


def among(keys: Iterable[int]) -> RawSQL:
    """For `pk__in`: any number of keys as one parameter, where a nested query grows too deep for SQLite to read."""
    if connection.vendor == "postgresql":
        return RawSQL("SELECT unnest(%s::bigint[])", [list(keys)])
    return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(keys))])


def lock(rows: QuerySet[Row], keys: Iterable[Any]) -> set[Any]:
    """Locks these rows until the transaction ends, always in the same order; returns the keys that are there."""
    found: set[Any] = set()
    for batch in batches(sorted(keys)):
        found.update(rows.select_for_update().filter(pk__in=batch).order_by("pk").values_list("pk", flat=True))
    return found
