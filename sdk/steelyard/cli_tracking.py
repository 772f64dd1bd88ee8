"""`steelyard runs` and `steelyard sync`: trainings that were done elsewhere."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from uuid import UUID

import click

from steelyard.client import Client, connect
from steelyard.terminal import echo_json, fail, new_table, print_table, with_client
from steelyard.tracking import sync
from steelyard_contracts.jobs import JobState, JobView
from steelyard_contracts.run_specs import RunSpec


@click.group()
def runs() -> None:
    """List and show runs: trainings that were done elsewhere and report here."""


@runs.command("list")
@click.argument("project", required=False)
@click.option("--state", type=click.Choice([str(one) for one in JobState]), default=None)
@click.option("--text", default=None, help="Words of a name or a configuration.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_client
def list_runs(
    client: Client, project: str | None, *, state: str | None, text: str | None, limit: int, as_json: bool
) -> None:
    """The runs of PROJECT (team/name), or of your teams, newest first."""
    found = list(islice(client.runs.list(project, state=JobState(state) if state else None, text=text), limit))
    if as_json:
        echo_json(found)
        return
    table = new_table("run", "project", "name", "state", "from", "by", "message")
    for view in found:
        if view.run is not None:
            state_now = "silent" if view.run.is_silent else str(view.state)
            message = view.error or view.message
            table.add_row(
                str(view.id), view.run.project, view.run.name, state_now, view.run.source, view.created_by, message
            )
    print_table(table)


@runs.command("show")
@click.argument("run", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@with_client
def show_run(client: Client, run: UUID, *, as_json: bool) -> None:
    """What RUN was given, where it trains, and how far it is."""
    view = client.runs.get(run)
    if as_json:
        click.echo(view.model_dump_json(indent=2))
        return
    _show(view)


@click.command("sync")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--url", default=None, help="Send them to this server, whichever they were begun for.")
def sync_runs(folder: Path | None, url: str | None) -> None:
    """Send the runs in FOLDER that were offline or cut off; those in ./steelyard-runs when none is named.

    May be repeated: nothing arrives twice. Each run goes to the server that it was begun for.
    """
    faults = 0
    for one in sync(folder, client=connect(url, quiet=True) if url else None):
        if one.fault:
            faults += 1
            click.echo(f"{one.folder}: {one.fault}", err=True)
            continue
        saved = f", saved {', '.join(one.versions)}" if one.versions else ""
        click.echo(f"{one.folder.name} is the run {one.name} ({one.run}){saved}")
    if faults:
        fail("error", f"{faults} of the runs could not be sent; their folders are kept.")


def add_to(main: click.Group) -> None:
    main.add_command(runs)
    main.add_command(sync_runs)


def _show(view: JobView) -> None:
    facts = view.run
    if facts is None or not isinstance(view.spec, RunSpec):
        fail("error", f"{view.id} is no run.")
    click.echo(f"{click.style(facts.name, bold=True)} of {facts.project}: {view.state} ({view.created_by})")
    if facts.is_silent:
        click.echo(f"  not heard of since {facts.heard_at:%Y-%m-%d %H:%M}")
    if view.error:
        click.echo(f"  {view.error}")
    given = {"dataset": ", ".join(view.spec.datasets), "base": view.spec.base, **view.spec.config}
    git = facts.git.model_dump() if facts.git else {}
    for title, rows in (("given", given), ("environment", facts.environment), ("git", git), ("tags", facts.tags)):
        for name, value in rows.items():
            if value not in (None, ""):
                click.echo(f"  {title} {name}: {value}")
    for name, value in view.result.items():
        click.echo(f"  result {name}: {value}")
