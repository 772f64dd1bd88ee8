"""`steelyard optimise`, `convert` and `jobs`: asking for work, and following it to its end."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any
from uuid import UUID

import click

from steelyard.cli_runs import compare_jobs
from steelyard.client import Client
from steelyard.terminal import echo_json, fail, new_table, print_table, with_client
from steelyard_contracts.jobs import JobState, JobView, VariantKind


@click.command()
@click.argument("model")
@click.argument("dataset")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice([str(one) for one in VariantKind]),
    help="All when none is named.",
)
@click.option("--max-accuracy-drop", type=float, default=0.01)
@click.option("--wait/--no-wait", default=True)
@with_client
def optimise(
    client: Client,
    model: str,
    dataset: str,
    *,
    variants: tuple[str, ...],
    max_accuracy_drop: float,
    wait: bool,
) -> None:
    """Make ONNX variants of MODEL, calibrated and measured on DATASET."""
    chosen = list(variants) or list(VariantKind)
    job = client.optimise(model=model, dataset=dataset, variants=chosen, max_accuracy_drop=max_accuracy_drop)
    follow(client, job, wait=wait)


@click.command()
@click.argument("model")
@click.option("--file", "path", default=None, help="One file of the version; all that torch saved when none is named.")
@click.option("--wait/--no-wait", default=True)
@with_client
def convert(client: Client, model: str, *, path: str | None, wait: bool) -> None:
    """Write the pickled weights of MODEL as safetensors, on a side branch."""
    follow(client, client.convert(model, path=path), wait=wait)


@click.group()
def jobs() -> None:
    """List, watch and cancel jobs."""


@jobs.command("list")
@click.argument("words", nargs=-1)
@click.option("--team", default=None)
@click.option("--state", type=click.Choice([str(one) for one in JobState]), default=None)
@click.option("--kind", default=None, help="As in train, evaluate, optimise.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_client
def list_jobs(
    client: Client,
    words: tuple[str, ...],
    *,
    team: str | None,
    state: str | None,
    kind: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List jobs, newest first: all, or those that were asked for, asked by, or say WORDS."""
    wanted = client.jobs(team=team, state=JobState(state) if state else None, kind=kind, text=" ".join(words))
    found = list(islice(wanted, limit))
    if as_json:
        echo_json(found)
        return
    table = new_table("job", "kind", "state", "progress", "by", "message")
    for job in found:
        table.add_row(str(job.id), job.kind, job.state, f"{job.progress:.0%}", job.created_by, job.error or job.message)
    print_table(table)


@jobs.command("watch")
@click.argument("job", type=click.UUID)
@with_client
def watch_job(client: Client, job: UUID) -> None:
    """Follow a job to its end."""
    follow(client, client.job(job), wait=True)


@jobs.command("logs")
@click.argument("job", type=click.UUID)
@with_client
def show_logs(client: Client, job: UUID) -> None:
    """What JOB has logged so far."""
    after = 0
    while lines := client.logs(job, after=after):
        for line in lines:
            click.echo(line.text)
        after = lines[-1].id


@jobs.command("cancel")
@click.argument("job", type=click.UUID)
@with_client
def cancel_job(client: Client, job: UUID) -> None:
    """End a job now, without a version; its checkpoint is kept for a while, and `resume` goes on from it."""
    view = client.cancel(job)
    click.echo("The job is cancelled." if view.state.is_final else "It ends at its next sign of life.")


@jobs.command("stop")
@click.argument("job", type=click.UUID)
@with_client
def stop_job(client: Client, job: UUID) -> None:
    """End a training at its next step, and keep its best state as a version."""
    client.stop(job)
    click.echo("The job ends at its next step and keeps its best state.")


@jobs.command("resume")
@click.argument("job", type=click.UUID)
@click.option("--wait/--no-wait", default=True)
@with_client
def resume_job(client: Client, job: UUID, *, wait: bool) -> None:
    """Let a job that failed, was cancelled or lost go on from its last checkpoint."""
    follow(client, client.resume(job), wait=wait)


@jobs.command("clone")
@click.argument("job", type=click.UUID)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="As in epochs=20, base=null, architecture.depths=[1].",
)
@click.option("--wait/--no-wait", default=True)
@with_client
def clone_job(client: Client, job: UUID, *, changes: tuple[str, ...], wait: bool) -> None:
    """Ask for a job like JOB, on the same versions, but for the changes."""
    follow(client, client.clone(job, **changed_fields(changes)), wait=wait)


@jobs.command("attempts")
@click.argument("job", type=click.UUID)
@with_client
def list_attempts(client: Client, job: UUID) -> None:
    """Show who tried a job, and how that ended."""
    table = new_table("attempt", "worker", "began", "from step", "ended", "how", "why")
    for one in client.attempts(job):
        began, ended = (f"{at:%Y-%m-%d %H:%M:%S}" if at else "" for at in (one.started_at, one.ended_at))
        step = "" if one.resumed_from is None else str(one.resumed_from)
        table.add_row(str(one.number), one.worker, began, step, ended, one.ending or "", one.why)
    print_table(table)


def changed_fields(changes: tuple[str, ...]) -> dict[str, Any]:
    """`("epochs=20", "architecture.depths=[1]")` as a merge patch; what is no JSON is text.

    Raises: click.UsageError.
    """
    patch: dict[str, Any] = {}
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals or not all(path.split(".")):
            raise click.UsageError(f"{change!r} changes nothing; write FIELD=VALUE, as in epochs=20.")
        *outer, name = path.split(".")
        inner = patch
        for key in outer:
            inner = inner.setdefault(key, {})
        try:
            inner[name] = json.loads(text)
        except ValueError:
            inner[name] = text
    return patch


def add_to(main: click.Group) -> None:
    jobs.add_command(compare_jobs)
    for command in (optimise, convert, jobs):
        main.add_command(command)


def follow(client: Client, job: JobView, *, wait: bool) -> None:
    """Shows a job's progress to its end; the status is 1 unless it succeeded."""
    if not wait:
        click.echo(f"Job {job.id} is queued.")
        return
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    ]
    with Progress(*columns) as progress:
        bar = progress.add_task(f"{job.kind} {str(job.id)[:8]}", total=1.0)
        final = client.wait(
            job.id,
            on_change=lambda view: progress.update(
                bar, completed=view.progress, description=escape(view.message or view.state)
            ),
        )
    if final.state is JobState.SUCCEEDED:
        for name, value in final.result.items():
            click.echo(f"  {name}: {_result(value)}")
        return
    fail(str(final.state), final.error or final.message)


def _result(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_result(part)}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)
