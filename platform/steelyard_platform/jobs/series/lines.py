"""A job's log: lines in the order they arrived."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import bindparam

from steelyard_contracts.jobs import LogLine as LogLineWire
from steelyard_platform.jobs.models import LogLine
from steelyard_platform.storage.core_tables import database_id, execute_many, insert_into


def write_lines(job: UUID, attempt: int, lines: Sequence[LogLineWire]) -> None:
    """A line sent again changes nothing."""
    names = ("job_id", "attempt", "number", "text")
    statement = insert_into(LogLine).values({name: bindparam(name) for name in names}).on_conflict_do_nothing()
    key = database_id(job)
    rows = [{"job_id": key, "attempt": attempt, "number": line.number, "text": line.text} for line in lines]
    execute_many(statement, rows)
