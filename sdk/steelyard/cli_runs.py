"""`steelyard jobs compare`: runs side by side in a terminal."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import click

from steelyard.client import Client
from steelyard.terminal import new_table, print_table, with_client
from steelyard_contracts.estimates import duration
from steelyard_contracts.runs import RunComparison


@click.command("compare")
@click.argument("jobs", nargs=-1, required=True, type=click.UUID)
@click.option("--all", "show_all", is_flag=True, help="Also what is the same.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@with_client
def compare_jobs(client: Client, jobs: tuple[UUID, ...], *, show_all: bool, as_json: bool) -> None:
    """Show two to eight JOBS side by side: what differs, and how each ended; the best is marked with a star."""
    found = client.runs.compare(*jobs)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    table = new_table("", *(f"{run.kind} {str(run.id)[:8]}" for run in found.runs))
    for name, values in _rows(found, show_all=show_all):
        table.add_row(name, *values)
    print_table(table)


def _rows(found: RunComparison, *, show_all: bool) -> list[tuple[str, list[str]]]:
    rows = [
        ("state", [run.state for run in found.runs]),
        ("version", [run.version or "" for run in found.runs]),
        ("took", ["" if run.seconds is None else duration(run.seconds) for run in found.runs]),
    ]
    parameters = [one for one in found.parameters if one.differs or show_all]
    rows += [(one.name, [_text(value) for value in one.values]) for one in parameters]
    for metric in found.metrics:
        texts = [_text(value) for value in metric.values]
        rows.append((metric.name, [f"{text} *" if place in metric.best else text for place, text in enumerate(texts)]))
    return rows


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
