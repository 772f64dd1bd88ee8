"""`steelyard release` and `devices`: signed versions on their way to devices."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from steelyard.client import Client
from steelyard.terminal import echo_json, new_table, print_table, with_client
from steelyard_contracts.fleet import RolloutState, RolloutView
from steelyard_contracts.words import size_in_words


@click.command()
@click.argument("model")
@click.option("--variant", help="A variant of that version, e.g. onnx-int8.")
@click.option("--to", "devices", multiple=True, help="Devices to roll it out to, in this order.")
@click.option("--first", type=int, default=1, help="Devices in the first stage.")
@click.option("--max-failures", type=int, default=0)
@click.option("--reason", default="")
@click.option("--override", is_flag=True, help="Past gates that refuse; for maintainers, with --reason.")
@with_client
def release(
    client: Client,
    model: str,
    variant: str | None,
    devices: tuple[str, ...],
    first: int,
    max_failures: int,
    reason: str,
    *,
    override: bool,
) -> None:
    """Sign MODEL for devices and, with --to, roll it out to them."""
    made = client.release(model, variant=variant, reason=reason, override=override)
    click.echo(f"Release {made.digest[:12]}: {made.repository}@{made.version}, {size_in_words(made.size)}")
    for said in made.overridden:
        click.echo(f"  overridden: {said}")
    if not devices:
        return
    rollout = client.roll_out(made.id, list(devices), first=first, max_failures=max_failures)
    final = client.wait_for_rollout(rollout.id)
    _show_rollout(final)
    if final.state is not RolloutState.COMPLETED:
        sys.exit(1)


@click.group()
def devices() -> None:
    """Enrol, accept, list and revoke devices."""


@devices.command("list")
@click.argument("team")
@with_client
def list_devices(client: Client, team: str) -> None:
    """Devices, with what each runs and when it was last heard of."""
    table = new_table("device", "state", "runs", "last seen")
    for device in client.devices(team):
        table.add_row(device.name, device.state, device.running_version or "nothing", _seen(device.last_seen_at))
    print_table(table)


@devices.command("running")
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="The devices as JSON.")
@with_client
def list_deployments(client: Client, ref: str, *, as_json: bool) -> None:
    """List the devices that run REF, or anything made from it; of a dataset (datasets:/team/data@v3), trained on it."""
    found = client.deployments(ref)
    if as_json:
        echo_json(list(found))
        return
    table = new_table("device", "team", "state", "runs", "last seen")
    for one in found:
        table.add_row(one.device, one.team, one.state, one.version, _seen(one.last_seen_at))
    print_table(table)


@devices.command("enrolment-token")
@click.argument("team")
@with_client
def enrolment_token(client: Client, team: str) -> None:
    """Print a token that devices enrol with, and that opens nothing else."""
    click.echo(client.enrolment_token(team))


@devices.command("accept")
@click.argument("team")
@click.argument("name")
@with_client
def accept_device(client: Client, team: str, name: str) -> None:
    """Let a device that has enrolled take releases."""
    client.accept_device(team, name)
    click.echo(f"{name} is accepted.")


@devices.command("revoke")
@click.argument("team")
@click.argument("name")
@with_client
def revoke_device(client: Client, team: str, name: str) -> None:
    """Take a device out: it gets nothing any more."""
    client.revoke_device(team, name)
    click.echo(f"{name} is revoked; its key opens nothing any more.")


def add_to(main: click.Group) -> None:
    main.add_command(release)
    main.add_command(devices)


def _show_rollout(rollout: RolloutView) -> None:
    table = new_table("device", "stage", "state", "detail", title=f"rollout {rollout.state}")
    for device in rollout.devices:
        table.add_row(device.device, str(device.stage + 1), device.state, device.detail)
    print_table(table)


def _seen(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"
