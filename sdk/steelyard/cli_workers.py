"""`steelyard worker` and `workers`: starting a machine that does jobs, and looking after those there are."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import click

from steelyard.client import Client
from steelyard.terminal import echo_json, fail, new_table, print_table, with_client
from steelyard_contracts.workers import WorkerView

# One of each kind of thing that the `workers` extra brings.
_NEEDED = ("celery", "psutil", "torch", "onnxruntime")


@click.command()
@click.option("--url", required=True, envvar="STEELYARD_URL", help="Address of the platform.")
@click.option(
    "--token",
    required=True,
    envvar="STEELYARD_WORKER_TOKEN",
    help="A worker's token; better in STEELYARD_WORKER_TOKEN, where other users of the machine do not see it.",
)
@click.option(
    "--name",
    envvar="STEELYARD_WORKER_NAME",
    help="What it is called on the page of the workers; the host's name otherwise.",
)
@click.option(
    "--labels",
    envvar="STEELYARD_WORKER_LABELS",
    multiple=True,
    help="Labels of your own, divided by commas: jobs can ask for them.",
)
@click.option(
    "--exclusive",
    envvar="STEELYARD_WORKER_EXCLUSIVE",
    is_flag=True,
    help="Take only jobs that ask for one of its labels, or for a GPU.",
)
@click.option(
    "--quick-only",
    envvar="STEELYARD_WORKER_QUICK_ONLY",
    is_flag=True,
    help="Take only small jobs that people wait for.",
)
@click.option(
    "--threads",
    envvar="STEELYARD_WORKER_THREADS",
    type=click.IntRange(min=1),
    default=1,
    help="Threads for torch in a job.",
)
@click.option(
    "--folder",
    envvar="STEELYARD_WORKER_FOLDER",
    type=click.Path(path_type=Path),
    help="Scratch space and cache; ./var/worker otherwise.",
)
@click.option("--once", is_flag=True, help="End after one job.")
@click.option("--job", help="Do this job and end.")
@click.option("--launch", type=click.Path(path_type=Path), help="Start a machine for each job, as this TOML file says.")
def worker(
    url: str,
    token: str,
    *,
    name: str | None,
    labels: tuple[str, ...],
    exclusive: bool,
    quick_only: bool,
    threads: int,
    folder: Path | None,
    once: bool,
    job: str | None,
    launch: Path | None,
) -> None:
    """Do jobs on this machine, wherever it stands: it only needs to reach the server over HTTP.

    SIGTERM or Ctrl-C gives the job that it is at back, to go on elsewhere from its last checkpoint.
    """
    _check_installed()
    told = {
        "STEELYARD_URL": url.rstrip("/"),
        "STEELYARD_WORKER_TOKEN": token,
        "STEELYARD_WORKER_NAME": name or "",
        "STEELYARD_WORKER_LABELS": ",".join(labels),
        "STEELYARD_WORKER_EXCLUSIVE": str(exclusive),
        "STEELYARD_WORKER_QUICK_ONLY": str(quick_only),
        "STEELYARD_WORKER_THREADS": str(threads),
        **({"STEELYARD_WORKER_FOLDER": str(folder)} if folder else {}),
    }
    arguments = [
        *(["--once"] if once else []),
        *(["--job", job] if job else []),
        *(["--launch", str(launch)] if launch else []),
    ]
    command = [sys.executable, "-m", "steelyard_workers.serve", *arguments]
    # It becomes the worker: signals reach it directly, and the token is no longer in a command line.
    os.execve(command[0], command, {**os.environ, **told})  # noqa: S606, TID251 - no shell; the worker reads them there


def _check_installed() -> None:
    missing = [name for name in (*_NEEDED, "steelyard_workers") if importlib.util.find_spec(name) is None]
    if missing:
        fail(
            "error",
            f"A worker needs more than the base install; {missing[0]} is missing here. Run: pip install "
            "'steelyard[workers]' (for a machine without a GPU, install torch's CPU build first: see docs/workers.md).",
        )


@click.group()
def workers() -> None:
    """See the machines that do the jobs; drain them; make their tokens."""


@workers.command("list")
@click.option("--team", default=None, help="Only this team's own.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_client
def list_workers(client: Client, team: str | None, *, as_json: bool) -> None:
    """Workers, with what each has and what it is at."""
    found = list(client.workers.all(team=team))
    if as_json:
        echo_json(found)
        return
    table = new_table("worker", "state", "team", "labels", "machine", "load", "job", "last seen")
    for one in found:
        job = str(one.job)[:8] if one.job else ""
        load = f"{one.load.cpu:.0%} CPU" + (f", {one.load.gpu:.0%} GPU" if one.load.gpu is not None else "")
        seen = f"{one.last_seen_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(one.name, one.state, one.team or "all", " ".join(one.labels), _machine(one), load, job, seen)
    print_table(table)


@workers.command("drain")
@click.argument("worker_name", metavar="WORKER")
@with_client
def drain_worker(client: Client, worker_name: str) -> None:
    """Let WORKER end its job, and take no other."""
    view = client.workers.drain(client.workers.named(worker_name).id)
    click.echo(f"{view.name} takes no new job.")


@workers.command("undrain")
@click.argument("worker_name", metavar="WORKER")
@with_client
def undrain_worker(client: Client, worker_name: str) -> None:
    """Let WORKER take jobs again."""
    view = client.workers.undrain(client.workers.named(worker_name).id)
    click.echo(f"{view.name} takes jobs again.")


@workers.command("forget")
@click.argument("worker_name", metavar="WORKER")
@with_client
def forget_worker(client: Client, worker_name: str) -> None:
    """Take WORKER, which is silent or has stopped, off the list."""
    client.workers.forget(client.workers.named(worker_name).id)
    click.echo(f"{worker_name} is forgotten.")


@workers.command("token")
@click.argument("team")
@click.option("--name", default="worker", help="What it is for, for people to read.")
@click.option("--days", type=click.IntRange(1, 3650), default=None, help="Days until it expires; never otherwise.")
@with_client
def issue_token(client: Client, team: str, name: str, days: int | None) -> None:
    """Print a token that does TEAM's jobs, and opens nothing else. For administrators, whose token must say so."""
    click.echo(client.workers.issue_token(team, name=name, days=days).token)


@workers.command("tokens")
@click.argument("team")
@with_client
def list_tokens(client: Client, team: str) -> None:
    """List TEAM's tokens for workers."""
    table = new_table("number", "name", "begins with", "last used", "expires")
    for one in client.workers.tokens(team):
        used = f"{one.last_used_at:%Y-%m-%d %H:%M}" if one.last_used_at else "never"
        expires = f"{one.expires_at:%Y-%m-%d}" if one.expires_at else "never"
        table.add_row(str(one.id), one.name, f"{one.hint}…", used, expires)
    print_table(table)


@workers.command("revoke-token")
@click.argument("team")
@click.argument("number", type=int)
@with_client
def revoke_token(client: Client, team: str, number: int) -> None:
    """Revoke a token of TEAM's: its workers lose at once what they are at."""
    client.workers.revoke_token(team, number)
    click.echo("The token is revoked.")


def add_to(main: click.Group) -> None:
    main.add_command(worker)
    main.add_command(workers)


def _machine(one: WorkerView) -> str:
    has = one.capabilities
    gpus = [f"{len(has.gpus)} x {has.gpus[0].name}"] if has.gpus else []
    return ", ".join([*gpus, f"{has.cores} cores", f"{has.memory_gb:g} GB"])
