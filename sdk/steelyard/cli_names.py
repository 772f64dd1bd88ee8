"""`steelyard alias`, `steelyard tag`: what versions are called."""

from __future__ import annotations

import itertools

import click

from steelyard.client import Client
from steelyard.terminal import new_table, print_table, with_client

_SHOWN = 50


@click.group()
def alias() -> None:
    """Names that move, such as production: list, history, protect, delete. `steelyard promote` moves them."""


@alias.command("list")
@click.argument("ref")
@with_client
def list_aliases(client: Client, ref: str) -> None:
    """The aliases of the repository REF."""
    for one in client.aliases(ref):
        click.echo(f"{one.name}: {one.version}{' (protected)' if one.protected else ''}")


@alias.command("history")
@click.argument("ref")
@click.argument("name", required=False)
@click.option(
    "--limit", type=click.IntRange(min=1), default=_SHOWN, show_default=True, help="At most so many, newest first."
)
@with_client
def show_history(client: Client, ref: str, name: str | None, limit: int) -> None:
    """Who moved which alias of REF (or the alias NAME alone), when, from where to where, and why."""
    found = new_table("when", "alias", "from", "to", "by", "why")
    for move in itertools.islice(client.alias_history(ref, name), limit):
        why = "; ".join(filter(None, [move.reason, *(f"overrode: {said}" for said in move.overridden)]))
        found.add_row(
            f"{move.at:%Y-%m-%d %H:%M:%S}",
            move.alias,
            move.from_version or "nothing",
            move.to_version or "deleted",
            move.actor,
            why,
        )
    print_table(found)


@alias.command("protect")
@click.argument("ref")
@click.argument("name")
@with_client
def protect(client: Client, ref: str, name: str) -> None:
    """Let only maintainers move or delete the alias NAME of REF."""
    client.protect_alias(ref, name)
    click.echo(f"{name} is protected: only maintainers move or delete it.")


@alias.command("unprotect")
@click.argument("ref")
@click.argument("name")
@with_client
def unprotect(client: Client, ref: str, name: str) -> None:
    """Let everybody who may write move the alias NAME of REF."""
    client.protect_alias(ref, name, protected=False)
    click.echo(f"{name} is protected no more.")


@alias.command("delete")
@click.argument("ref")
@click.argument("name")
@click.option("--reason", default="")
@with_client
def delete_alias(client: Client, ref: str, name: str, reason: str) -> None:
    """Delete the alias NAME of REF; its history stays."""
    client.delete_alias(ref, name, reason=reason)
    click.echo(f"{name} is deleted; its history stays.")


@click.group()
def tag() -> None:
    """Names that stay where they are: add, list, delete."""


@tag.command("add")
@click.argument("ref")
@click.argument("name")
@click.option("--message", "-m", default="")
@with_client
def add_tag(client: Client, ref: str, name: str, message: str) -> None:
    """Call the version REF, such as team/model@v3, NAME."""
    made = client.tag(ref, name, message=message)
    click.echo(f"{made.name} is {made.version}.")


@tag.command("list")
@click.argument("ref")
@with_client
def list_tags(client: Client, ref: str) -> None:
    """The tags of REF, and the versions that they stand for."""
    for one in client.tags(ref):
        click.echo(f"{one.name}: {one.version}{f'  {one.message}' if one.message else ''}")


@tag.command("delete")
@click.argument("ref")
@click.argument("name")
@with_client
def delete_tag(client: Client, ref: str, name: str) -> None:
    """Take the tag NAME off; its version stays."""
    client.delete_tag(ref, name)
    click.echo(f"{name} is deleted.")


def add_to(group: click.Group) -> None:
    for command in (alias, tag):
        group.add_command(command)
