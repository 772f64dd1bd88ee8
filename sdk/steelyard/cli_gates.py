"""`steelyard gates`: rules that a version must meet before an alias may name it, or it goes to devices."""

from __future__ import annotations

import sys

import click

from steelyard.client import Client
from steelyard.terminal import show_verdicts, with_client


@click.group()
def gates() -> None:
    """Rules that versions must meet before an alias may name them, or they are released."""


@gates.command("add")
@click.argument("ref")
@click.argument("rule")
@click.option("--for", "applies_to", default="*", help="An alias, 'release', or '*' for all.")
@with_client
def add_gate(client: Client, ref: str, rule: str, applies_to: str) -> None:
    """Add a rule, such as "accuracy >= 0.95 on team/digits@v1", to the model REF."""
    gate = client.add_gate(ref, rule, applies_to=applies_to)
    click.echo(f"Gate {gate.id}: {gate.rule} (for {gate.applies_to})")


@gates.command("list")
@click.argument("ref")
@with_client
def list_gates(client: Client, ref: str) -> None:
    """The rules of the model REF, by number."""
    for gate in client.gates(ref):
        click.echo(f"{gate.id}: {gate.rule} (for {gate.applies_to})")


@gates.command("remove")
@click.argument("ref")
@click.argument("gate", type=int)
@with_client
def remove_gate(client: Client, ref: str, gate: int) -> None:
    """Remove the gate with the number GATE from the model REF."""
    client.remove_gate(ref, gate)
    click.echo(f"Gate {gate} is removed.")


@gates.command("check")
@click.argument("ref")
@click.option("--for", "applies_to", default="*", help="An alias, 'release', or '*' for the rules of all.")
@with_client
def check_gates(client: Client, ref: str, applies_to: str) -> None:
    """What each gate says of the version REF now; the status is 1 when one refuses."""
    verdicts = client.verdicts(ref, applies_to)
    show_verdicts(verdicts)
    if not all(verdict.passed for verdict in verdicts):
        sys.exit(1)
