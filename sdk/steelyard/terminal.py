"""What the `steelyard` command's parts share: a client, sentences on stderr, tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn

import click
from pydantic import BaseModel

from steelyard.client import connect
from steelyard_contracts.promotions import GateVerdict

if TYPE_CHECKING:
    from rich.table import Table


_IDS = frozenset({"run", "job", "search", "model"})
# The width of a table with ids, so that its words have room too; a narrower terminal breaks the lines itself.
_ROOM = 120


def fail(what: str, sentence: str) -> NoReturn:
    """One sentence on stderr."""
    click.echo(f"{click.style(f'{what}:', fg='red', bold=True)} {sentence}", err=True)
    sys.exit(1)


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        with connect() as client:
            command(client, *args, **kwargs)

    return wrapped


def new_table(*columns: str, title: str | None = None) -> Table:
    # Imported where it is used: most commands print a line, and start faster without.
    from rich.table import Column, Table

    # Names stay whole, and what is copied stays on one line.
    return Table(*(Column(one, overflow="fold", no_wrap=one in _IDS) for one in columns), title=title)


def print_table(made: Table) -> None:
    from rich.console import Console

    console = Console(markup=False)  # what the server or a user wrote is never read as markup
    if any(column.no_wrap for column in made.columns):
        console.width = max(console.width, _ROOM)
    console.print(made)


def show_verdicts(verdicts: Iterable[GateVerdict], *, err: bool = False) -> None:
    """Each rule, and what it says."""
    for verdict in verdicts:
        mark = click.style("passes", fg="green") if verdict.passed else click.style("refuses", fg="red")
        click.echo(f"  {mark} {verdict.rule}: {verdict.sentence}", err=err)


def echo_json(models: Sequence[BaseModel]) -> None:
    click.echo(json.dumps([one.model_dump(mode="json") for one in models], indent=2))
