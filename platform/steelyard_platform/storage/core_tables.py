"""SQLAlchemy Core on Django's own connection: one schema, one transaction, one pool.

Django's models define the tables; these helpers describe them to Core, which compiles the set-shaped
statements an ORM is bad at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection, models
from sqlalchemy import BindParameter, Column, MetaData, SelectBase, Table, bindparam, false, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.elements import ClauseElement

_METADATA = MetaData()
_PLACEHOLDER = re.compile("%s|%%|:")


@cache
def table_of(model: type[models.Model]) -> Table:
    """The Core table of a Django model. Its columns are untyped: Django has already adapted the values."""
    columns: list[Column[Any]] = [Column(field.column) for field in model._meta.concrete_fields]  # noqa: SLF001 - Django documents _meta
    return Table(model._meta.db_table, _METADATA, *columns)  # noqa: SLF001 - as above


def keys_of(queryset: models.QuerySet[Any, Any]) -> SelectBase:
    """The primary keys that a Django query finds, for `column.in_(...)`: a rule that is written once holds here too."""
    try:
        sql, values = queryset.values("pk").query.sql_with_params()
    except EmptyResultSet:  # Django knows that nothing can be found
        model: type[models.Model] = queryset.model
        key = str(model._meta.pk.column)  # noqa: SLF001 - as above
        return select(table_of(model).c[key]).where(false())
    names = iter(range(len(values)))
    pattern = _PLACEHOLDER.sub(lambda found: _in_text(found[0], names), sql)
    bound: list[BindParameter[Any]] = [
        bindparam(f"row_{number}", value, unique=True) for number, value in enumerate(values)
    ]
    return text(pattern).bindparams(*bound).columns(Column("key"))


def _in_text(found: str, names: Iterator[int]) -> str:
    """Django's mark, percent sign or colon as SQLAlchemy's `text` writes it."""
    match found:
        case "%s":
            return f":row_{next(names)}"
        case "%%":
            return "%"
        case _:
            return rf"\{found}"


def database_id(key: UUID) -> str | UUID:
    """As Django stores a UUID: natively on PostgreSQL, as 32 hexadecimal digits on SQLite."""
    return key if connection.features.has_native_uuid_field else key.hex


def insert_into(model: type[models.Model]) -> Any:
    """An INSERT of the connection's own dialect, for its ON CONFLICT."""
    dialect = postgresql if connection.vendor == "postgresql" else sqlite
    return dialect.insert(table_of(model))


def fetch_all(statement: Executable) -> list[tuple[Any, ...]]:
    sql, parameters = _compile(statement)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def execute(statement: Executable) -> None:
    sql, parameters = _compile(statement)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def insert_many(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    *,
    replace: Sequence[str] = (),
    changes: Changes | None = None,
) -> None:
    """Many rows, in the order of `columns`; one that is there under the key `replace` is replaced.

    Args:
        model: whose table it is.
        columns: their names.
        rows: no two of them under one key.
        replace: the columns of the key.
        changes: what becomes of a row that is there, from the new one's columns; these themselves, unless it is said.
    """
    if not rows:
        return
    sql = _insert_sql(model, tuple(columns), tuple(replace), changes)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(sql, dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
        else:
            cursor.executemany(sql, [dict(zip(columns, row, strict=True)) for row in rows])


Changes = Callable[[Any], dict[str, Any]]


@cache
def _insert_sql(
    model: type[models.Model], columns: tuple[str, ...], replace: tuple[str, ...], changes: Changes | None
) -> str:
    """Compiled once: it is the same whatever the rows are."""
    statement = insert_into(model)
    if connection.vendor == "postgresql":
        statement = statement.from_select(list(columns), _unnested(model, columns))
    else:
        statement = statement.values({name: bindparam(name) for name in columns})
    if replace:
        new = statement.excluded
        becomes = changes(new) if changes else {name: new[name] for name in columns if name not in replace}
        statement = statement.on_conflict_do_update(index_elements=list(replace), set_=becomes)
    return _compile(statement)[0]


def _unnested(model: type[models.Model], columns: Sequence[str]) -> SelectBase:
    """The rows as one statement takes them: an array for each column."""
    types = {field.column: field.db_type(connection) for field in model._meta.concrete_fields}  # noqa: SLF001 - as above
    arrays = ", ".join(f"CAST(:{name} AS {types[name]}[])" for name in columns)
    values: list[BindParameter[Any]] = [bindparam(name, None) for name in columns]
    # The names and types are the model's own.
    return text(f"SELECT * FROM unnest({arrays})").bindparams(*values).columns(*(Column(name) for name in columns))  # noqa: S608


def execute_many(statement: Executable, rows: Sequence[dict[str, Any]]) -> None:
    """Runs one statement for many rows of parameters."""
    if not rows:
        return
    sql, _ = _compile(statement)
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def _compile(statement: Executable) -> tuple[str, dict[str, Any]]:
    assert isinstance(statement, ClauseElement)  # noqa: S101 - every Core statement is one
    compiled = statement.compile(dialect=_dialect(), compile_kwargs={"render_postcompile": True})
    return str(compiled), dict(compiled.params)


@cache
def _dialect() -> Dialect:
    # Django's cursors take %(name)s on both databases.
    dialect = postgresql.dialect if connection.vendor == "postgresql" else sqlite.dialect
    return dialect(paramstyle="pyformat")
