"""`steelyard promote`, `approve`, `reject`, `promotions`: moving an alias, or asking that somebody does."""

from __future__ import annotations

import itertools

import click

from steelyard.client import Client
from steelyard.terminal import fail, new_table, print_table, show_verdicts, with_client
from steelyard_contracts.promotions import PromotionDetail, PromotionState, PromotionStep, PromotionView
from steelyard_contracts.refs import parse_ref

_SHOWN = 50
_WORDS = {
    PromotionStep.COMMENT: "commented",
    PromotionStep.APPROVAL: "approved",
    PromotionStep.CHANGE: "asks for something else now:",
    PromotionStep.REJECTION: "rejected it",
    PromotionStep.WITHDRAWAL: "withdrew it",
    PromotionStep.CARRIED_OUT: "carried it out:",
}


@click.command()
@click.argument("ref")
@click.argument("alias")
@click.option("--reason", default="")
@click.option(
    "--request", "ask", is_flag=True, help="Ask for it; maintainers approve or reject. ALIAS may be 'release'."
)
@click.option("--override", is_flag=True, help="Past gates that refuse; for maintainers, with --reason.")
@with_client
def promote(client: Client, ref: str, alias: str, reason: str, *, ask: bool, override: bool) -> None:
    """Move ALIAS to the version REF, if its gates allow it."""
    if ask and override:
        fail("error", "A request overrides nothing; whoever carries it out may.")
    if ask:
        made = client.request_promotion(ref, alias, words=reason)
        click.echo(f"Promotion {made.number}: {made.version} as {made.target} waits for a maintainer.")
        show_verdicts(made.verdicts)
        return
    moved = client.promote(ref, alias, reason=reason, override=override)
    click.echo(f"{moved.name} is now {moved.version}.")


@click.command()
@click.argument("ref")
@click.argument("number", type=int)
@click.option("--comment", "-m", default="")
@click.option("--carry-out", is_flag=True, help="Move the alias too, if every gate passes.")
@with_client
def approve(client: Client, ref: str, number: int, comment: str, *, carry_out: bool) -> None:
    """Approve the promotion NUMBER of REF; with REF@version only as long as it asks for that version."""
    found = client.approve(ref, number, words=comment)
    click.echo(f"Promotion {number} is approved: {found.version} as {found.target}.")
    if carry_out:
        _carried_out(client.carry_out(ref, number))
        return
    show_verdicts(found.verdicts)


@click.command()
@click.argument("ref")
@click.argument("number", type=int)
@click.option("--comment", "-m", default="")
@with_client
def reject(client: Client, ref: str, number: int, comment: str) -> None:
    """Reject the promotion NUMBER of REF, which ends it."""
    client.reject(ref, number, words=comment)
    click.echo(f"Promotion {number} is rejected.")


@click.group()
def promotions() -> None:
    """Requests for promotion: list, show, comment, change, withdraw, carry out."""


@promotions.command("list")
@click.argument("ref")
@click.option("--state", type=click.Choice([str(one) for one in PromotionState]), default=None)
@click.option(
    "--limit", type=click.IntRange(min=1), default=_SHOWN, show_default=True, help="At most so many, newest first."
)
@with_client
def list_promotions(client: Client, ref: str, state: str | None, limit: int) -> None:
    """Requests that a version takes a name, newest first."""
    found = new_table("number", "version", "as", "in place of", "state", "by", "words")
    wanted = PromotionState(state) if state else None
    for one in itertools.islice(client.promotions(ref, state=wanted), limit):
        found.add_row(
            str(one.number),
            one.version or "deleted",
            one.target,
            _in_place_of(one),
            one.state,
            one.requester,
            one.words,
        )
    print_table(found)


def _in_place_of(one: PromotionView) -> str:
    """The alias may have moved on since a request ended."""
    return "" if one.state is not PromotionState.OPEN else one.replaces or "nothing"


@promotions.command("show")
@click.argument("ref")
@click.argument("number", type=int)
@with_client
def show_promotion(client: Client, ref: str, number: int) -> None:
    """What is asked for, what was said, and what the gates say now."""
    one = client.promotion(ref, number)
    instead = f" in place of {one.replaces}" if one.replaces and one.state is PromotionState.OPEN else ""
    click.echo(f"Promotion {one.number} ({one.state}): {one.version or 'a deleted version'} as {one.target}{instead}")
    click.echo(f"  {one.requester} asked: {one.words or '(no words)'}")
    for event in one.events:
        stale = "" if event.counts or event.step is not PromotionStep.APPROVAL else " (counts no more)"
        parts = [event.author, _WORDS[event.step], event.subject + stale, event.words]
        click.echo("  " + " ".join(filter(None, parts)))
    show_verdicts(one.verdicts)


@promotions.command("comment")
@click.argument("ref")
@click.argument("number", type=int)
@click.argument("words")
@with_client
def comment(client: Client, ref: str, number: int, words: str) -> None:
    """Say something about a request."""
    client.comment_on_promotion(ref, number, words)


@promotions.command("change")
@click.argument("ref")
@click.argument("number", type=int)
@click.option("--to", "target", default=None, help="Another alias.")
@click.option("--comment", "-m", default="")
@with_client
def change(client: Client, ref: str, number: int, target: str | None, comment: str) -> None:
    """Ask for another version (REF@version) or another alias; approvals until now count no more."""
    found = client.change_promotion(ref, number, revision=parse_ref(ref).revision, target=target, words=comment)
    click.echo(f"Promotion {number} asks for {found.version} as {found.target} now.")


@promotions.command("withdraw")
@click.argument("ref")
@click.argument("number", type=int)
@click.option("--comment", "-m", default="")
@with_client
def withdraw(client: Client, ref: str, number: int, comment: str) -> None:
    """Take back what you asked for."""
    client.withdraw_promotion(ref, number, words=comment)
    click.echo(f"Promotion {number} is withdrawn.")


@promotions.command("carry-out")
@click.argument("ref")
@click.argument("number", type=int)
@click.option("--reason", default="", help="Instead of the request's own words.")
@click.option("--override", is_flag=True, help="Past gates that refuse; for maintainers, with --reason.")
@with_client
def carry_out(client: Client, ref: str, number: int, reason: str, *, override: bool) -> None:
    """Move the alias, if every gate passes."""
    _carried_out(client.carry_out(ref, number, reason=reason, override=override))


def _carried_out(done: PromotionDetail) -> None:
    click.echo(f"{done.target} is now {done.version}.")


def add_to(group: click.Group) -> None:
    for command in (promote, approve, reject, promotions):
        group.add_command(command)
