"""`steelyard inspect`: what is inside weights."""

from __future__ import annotations

import click

from steelyard.client import connect
from steelyard.reports import show_inspection


@click.command()
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.option("--wait/--no-wait", default=True, help="Until a worker has read every file.")
def inspect(ref: str, *, as_json: bool, wait: bool) -> None:
    """What is inside the weights of REF: parameters by module, kinds of numbers, and what is wrong."""
    with connect() as client:
        view = client.inspect(ref, wait=wait)
    if as_json:
        click.echo(view.model_dump_json(indent=2))
        return
    show_inspection(view)
