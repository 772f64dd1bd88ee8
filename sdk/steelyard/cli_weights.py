"""`steelyard inspect` and `steelyard diff`: what is inside weights, and what became of it."""

from __future__ import annotations

import json

import click

from steelyard.client import connect
from steelyard.reports import show_comparison, show_inspection

_IN_JSON = {"changed", "added", "removed", "reshaped", "cast", "unchanged_count"}


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


@click.command()
@click.argument("left")
@click.argument("right")
@click.option("--json", "as_json", is_flag=True, help="The tensors that differ, with their measures, as JSON.")
@click.option("--wait/--no-wait", default=True, help="Until everything that differs is measured.")
def diff(left: str, right: str, *, as_json: bool, wait: bool) -> None:
    """What became of the weights of LEFT in RIGHT, such as team/model@v1 and team/model@v2."""
    with connect() as client:
        view = client.compare(left, right, wait=wait)
    if as_json:
        click.echo(json.dumps(view.model_dump(mode="json", include=_IN_JSON), indent=2))
        return
    show_comparison(view)
