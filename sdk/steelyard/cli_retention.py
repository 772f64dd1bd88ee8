"""`steelyard delete`, `trash`, `expiry`: what goes, what it would break, and the way back."""

from __future__ import annotations

import click

from steelyard.client import Client
from steelyard.retention import Deletion, TrashItem
from steelyard.terminal import fail, with_client
from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.words import count_in_words, size_in_words

_ASKS_NOTHING = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.command()
@click.argument("ref")
@_ASKS_NOTHING
@with_client
def delete(client: Client, ref: str, *, yes: bool) -> None:
    """Put REF into the trash: a version, team/model@v3, or the repository team/model with all its versions.

    Says first what refers to it and what would be freed, and asks.
    """
    one = parse_ref(ref)
    outlook = client.foresee_deletion(one)
    if not outlook.possible:
        fail("refused", _text(outlook))
    click.echo(_text(outlook))
    if not yes:
        click.confirm(f"Delete {outlook.label}?", abort=True)
    if one.revision is None:
        client.delete_repository(one)
    else:
        client.delete_version(one)
    click.echo(f"{outlook.label} is in the trash; `steelyard trash restore` brings it back.")


def _text(outlook: Deletion) -> str:
    return "\n".join(outlook.lines)


@click.group()
def trash() -> None:
    """List, restore or empty what was deleted."""


@trash.command("list")
@click.argument("namespace", default="")
@with_client
def list_trash(client: Client, namespace: str) -> None:
    """What can be brought back, newest first, of NAMESPACE or of all your teams."""
    for one in client.trash.items(namespace):
        deleted = f"deleted by {one.deleted_by} on {one.deleted_at:%Y-%m-%d %H:%M}"
        click.echo(f"{_line(one)}; {deleted}, kept until {one.due_at:%Y-%m-%d}")


@trash.command()
@click.argument("item")
@click.option("--name", help="Another name, where somebody has taken the old one.")
@with_client
def restore(client: Client, item: str, name: str | None) -> None:
    """Bring ITEM back: its number in the list, or its name (team/model@v3, datasets:/team/data)."""
    found = _named(client, item)
    click.echo(f"{client.trash.restore(found.id, name=name)} is back.")


@trash.command()
@click.argument("item")
@click.option("--all-of", "is_namespace", is_flag=True, help="ITEM is a namespace: empty all of its trash.")
@_ASKS_NOTHING
@with_client
def empty(client: Client, item: str, *, is_namespace: bool, yes: bool) -> None:
    """Delete ITEM for good, before its time: its number in the list, or its name."""
    # The oldest first: a branch was deleted before what it stands on could be.
    doomed = list(client.trash.items(item))[::-1] if is_namespace else [_named(client, item)]
    if not doomed:
        click.echo(f"Nothing of {item} is in the trash.")
        return
    for one in doomed:
        click.echo(_line(one))
    if not yes:
        click.confirm("Nobody can bring this back. Delete it for good?", abort=True)
    for one in doomed:
        client.trash.empty(one.id)
    click.echo("Deleted for good.")


def _line(one: TrashItem) -> str:
    versions = count_in_words(one.versions, "version")
    return f"{one.id}: the {one.what} {one.label} ({versions}, {size_in_words(one.size)})"


def _named(client: Client, item: str) -> TrashItem:
    """By number, or by name: the newest of that name. Raises: NotFoundError."""
    kind, _, name = item.rpartition(":/")
    name, kinds = name.lstrip("/"), [kind.removesuffix("s")] if kind else list(RepositoryKind)
    namespace = "" if item.isdecimal() else name.partition("/")[0]
    for one in client.trash.items(namespace):
        if str(one.id) == item or (one.label == name and one.kind in kinds):
            return one
    raise NotFoundError(f"{item} is not in the trash, or you may not see it: `steelyard trash list`.")


@click.group()
def expiry() -> None:
    """Rules by which versions that nothing refers to go to the trash by themselves."""


@expiry.command("show")
@click.argument("ref")
@with_client
def show_rule(client: Client, ref: str) -> None:
    """The rule of the repository REF."""
    rule = client.expiry.rule(ref)
    younger = f", and whatever is younger than {rule.older_than_days} days" if rule.older_than_days else ""
    click.echo(f"The newest {rule.keep_last} versions of each branch stay{younger}. Set by {rule.changed_by}.")


@expiry.command("set")
@click.argument("ref")
@click.option("--keep-last", type=click.IntRange(min=1), required=True, help="The newest so many of each branch stay.")
@click.option("--older-than-days", type=click.IntRange(min=0), default=0, help="Whatever is younger stays, too.")
@click.option("--preview", is_flag=True, help="Only say what the rule would take now.")
@_ASKS_NOTHING
@with_client
def set_rule(client: Client, ref: str, *, keep_last: int, older_than_days: int, preview: bool, yes: bool) -> None:
    """Set the rule of REF. Says first what it would take now, and asks.

    What an alias, a tag, a branch, a release, a device, a gate or a job refers to stays, and so does what others were
    made from.
    """
    click.echo(client.expiry.foresee(ref, keep_last=keep_last, older_than_days=older_than_days).sentence)
    if preview:
        return
    if not yes:
        click.confirm("Set this rule?", abort=True)
    client.expiry.set(ref, keep_last=keep_last, older_than_days=older_than_days)
    click.echo("The rule is set; it is applied every hour.")


@expiry.command("remove")
@click.argument("ref")
@with_client
def remove_rule(client: Client, ref: str) -> None:
    """Remove the rule of REF; its versions stay from now on."""
    client.expiry.remove(ref)
    click.echo(f"{ref} has no expiry rule any more.")


def add_to(main: click.Group) -> None:
    for command in (delete, trash, expiry):
        main.add_command(command)
