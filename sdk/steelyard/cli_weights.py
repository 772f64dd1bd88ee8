"""`steelyard inspect` and `steelyard diff`: what is inside weights, and what became of it."""

from __future__ import annotations

import json

import click

from steelyard.client import Client
from steelyard.reports import show_comparison, show_inspection
from steelyard.terminal import fail, with_client
from steelyard_contracts.jobs import InspectSpec, JobState

_IN_JSON = {"changed", "added", "removed", "reshaped", "cast", "unchanged_count"}


@click.command()
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.option("--again", is_flag=True, help="Read every file anew, as after the scanner has learned more.")
@click.option("--wait/--no-wait", default=True, help="Until a worker has read every file.")
@with_client
def inspect(client: Client, ref: str, *, as_json: bool, again: bool, wait: bool) -> None:
    """What is inside the weights of REF: parameters by module, kinds of numbers, and what is wrong."""
    if again:
        job = client.submit(InspectSpec(model=ref, again=True))
        if wait and (ended := client.wait(job.id)).state is not JobState.SUCCEEDED:
            fail(str(ended.state), ended.error or ended.message)
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
@with_client
def diff(client: Client, left: str, right: str, *, as_json: bool, wait: bool) -> None:
    """What became of the weights of LEFT in RIGHT, such as team/model@v1 and team/model@v2."""
    view = client.compare(left, right, wait=wait)
    if as_json:
        click.echo(json.dumps(view.model_dump(mode="json", include=_IN_JSON), indent=2))
        return
    show_comparison(view)
