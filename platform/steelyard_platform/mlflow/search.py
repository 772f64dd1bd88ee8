"""Conditions and orders as queries: one query for a page, whatever is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from django.db.models import F, Func, Model, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.db.models.sql.compiler import SQLCompiler

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.mlflow.filters import Condition, Order, as_pattern
from steelyard_platform.mlflow.http import moment_of

Row = TypeVar("Row", bound=Model)
Special = Callable[[QuerySet[Any], Condition], QuerySet[Any]]
_MOMENTS = frozenset({"created", "updated", "start_time", "end_time"})
_COMPARED = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_MILLISECOND = timedelta(milliseconds=1)
# MLflow's client asks every search for what is "not a prompt"; what has no such tag is none.
_ABSENT_IS_OTHER = frozenset({"mlflow.prompt.is_prompt"})


class KeyText(Func):
    """The text under a key of a JSON column, whatever letters the key is made of; null where there is none."""

    output_field = TextField()

    def __init__(self, column: str, key: str) -> None:
        super().__init__(F(column), Value(key))
        self.key = key

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s)", arg_joiner=" ->> ", **more)

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **more: Any) -> Any:
        copied = self.copy()
        copied.set_source_expressions([self.get_source_expressions()[0], Value(f"$.{json.dumps(self.key)}")])
        return copied.as_sql(compiler, connection, function="JSON_EXTRACT", **more)


def where(
    rows: QuerySet[Row],
    condition: Condition,
    columns: Mapping[str, str],
    *,
    tags: str = "",
    params: str = "",
    special: Mapping[str, Special] | None = None,
) -> QuerySet[Row]:
    """The rows that meet it.

    Args:
        rows: what is looked through.
        condition: as parsed, so that its comparison suits its field.
        columns: of the attributes, by their names in the language.
        tags: the JSON column that tags are in.
        params: the one that parameters are in.
        special: how to look for what is no column, by the attribute's name or the space's.
    """
    asked = (special or {}).get(condition.key if condition.space == "attribute" else condition.space)
    if asked is not None:
        specially: QuerySet[Row] = asked(rows, condition)
        return specially
    if condition.space == "attribute":
        column = columns.get(condition.key)
        if column is None:
            raise InvalidInputError(f"{condition.key!r} cannot be searched for here.", key=condition.key)
        return rows.filter(_moment(column, condition) if condition.key in _MOMENTS else compared(column, condition))
    kept_in = {"tag": tags, "param": params}.get(condition.space)
    if not kept_in:
        raise InvalidInputError(f"{condition.space!r} cannot be searched for here.", key=condition.key)
    alias = f"asked_{len(rows.query.annotations)}"
    named: QuerySet[Row] = rows.alias(**{alias: Cast(KeyText(kept_in, condition.key), TextField())})
    found = compared(alias, condition)
    if condition.operator == "!=" and condition.key in _ABSENT_IS_OTHER:
        found |= Q(**{f"{alias}__isnull": True})
    return named.filter(found)


def compared(column: str, condition: Condition) -> Q:
    """A null meets nothing but IS NULL, as in SQL."""
    value: Any = condition.value
    there = Q(**{f"{column}__isnull": False})
    match condition.operator:
        case "=":
            found = Q(**{column: value})
        case "!=":
            found = there & ~Q(**{column: value})
        case "LIKE":
            found = Q(**{f"{column}__regex": as_pattern(value)})
        case "ILIKE":
            found = Q(**{f"{column}__iregex": as_pattern(value)})
        case "IN":
            found = Q(**{f"{column}__in": list(value)})
        case "NOT IN":
            found = there & ~Q(**{f"{column}__in": list(value)})
        case "IS NULL":
            found = ~there
        case "IS NOT NULL":
            found = there
        case operator:
            found = Q(**{f"{column}__{_COMPARED[operator]}": value})
    return found


def _moment(column: str, condition: Condition) -> Q:
    """Moments are kept by the microsecond and compared by the millisecond."""
    assert isinstance(condition.value, float)  # noqa: S101 - the parser sees to it
    begin = moment_of(int(condition.value))
    end = begin + _MILLISECOND
    same = Q(**{f"{column}__gte": begin, f"{column}__lt": end})
    match condition.operator:
        case "=":
            return same
        case "!=":
            return Q(**{f"{column}__isnull": False}) & ~same
        case ">":
            return Q(**{f"{column}__gte": end})
        case ">=":
            return Q(**{f"{column}__gte": begin})
        case "<":
            return Q(**{f"{column}__lt": begin})
        case _:
            return Q(**{f"{column}__lt": end})


def ordered(
    rows: QuerySet[Row],
    orders: Sequence[Order],
    columns: Mapping[str, str],
    *,
    default: Sequence[str],
    tags: str = "",
    params: str = "",
    expressions: Mapping[str, Callable[[str], Any]] | None = None,
) -> QuerySet[Row]:
    """What has no value comes last, either way. `default` decides between equals.

    `expressions` makes the value of a space that is no column, such as a metric, of its key.
    """
    terms: list[Any] = []
    for number, order in enumerate(orders):
        if order.space == "attribute":
            column = columns.get(order.key)
            if column is None:
                raise InvalidInputError(f"Nothing can be put in order by {order.key!r} here.", key=order.key)
            value: Any = F(column)
        elif expressions and order.space in expressions:
            value = expressions[order.space](order.key)
        elif kept_in := {"tag": tags, "param": params}.get(order.space):
            value = Cast(KeyText(kept_in, order.key), TextField())
        else:
            raise InvalidInputError(f"Nothing can be put in order by {order.space!r} here.", key=order.key)
        alias = f"order_{number}"
        rows = rows.alias(**{alias: value})
        field = F(alias)
        terms.append(field.desc(nulls_last=True) if order.descending else field.asc(nulls_last=True))
    return rows.order_by(*terms, *default)
