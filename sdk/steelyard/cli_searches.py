"""`steelyard tune`: searches over the parameters of a training.

steelyard tune start lab/digits lab/reader --vary learning_rate=1e-4..1e-1:log --vary batch_size=16,32,64 --trials 30
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import click

from steelyard.client import Client
from steelyard.terminal import fail, new_table, print_table, with_client
from steelyard_contracts.search_words import divide, parse_space, read_value
from steelyard_contracts.searches import SearchSpec, SearchState, SearchView

_BEST_SHOWN = 10


@click.group()
def tune() -> None:
    """Search for the parameters with which a training becomes best."""


@tune.command("start")
@click.argument("dataset")
@click.argument("output")
@click.option("--base", help="Start every trial from this version instead of from scratch.")
@click.option(
    "--vary",
    "varied",
    multiple=True,
    required=True,
    metavar="NAME=VALUES",
    help="What may vary: epochs=5..20, learning_rate=1e-4..1e-1:log, weight_decay=0..0.3:step=0.1, batch_size=16,32.",
)
@click.option("--set", "fixed", multiple=True, metavar="NAME=VALUE", help="Another field of all trainings: epochs=10.")
@click.option("--metric", default="validation/accuracy", show_default=True)
@click.option("--minimize", is_flag=True, help="Less is better, as for a loss.")
@click.option("--sampler", type=click.Choice(["tpe", "random", "grid"]), default="tpe", show_default=True)
@click.option("--pruner", type=click.Choice(["median", "halving", "none"]), default="median", show_default=True)
@click.option("--trials", type=int, default=20, show_default=True)
@click.option("--parallel", type=int, default=1, show_default=True, help="Trials at once, as far as there are workers.")
@click.option("--label", "labels", multiple=True, help="What each trial's machine must have: gpu, gpu:a100, your own.")
@click.option("--seed", type=int, default=0)
@click.option("--hours", "time_limit_hours", type=float, help="No new trial begins after so long.")
@click.option("--promote-to", help="An alias that the best version gets at the end.")
@click.option("--keep", type=click.Choice(["best", "all"]), default="best", help="Whose versions stay.")
@click.option("--name", default="")
@click.option("--wait/--no-wait", default=True)
@with_client
def start_search(
    client: Client,
    dataset: str,
    output: str,
    *,
    base: str | None,
    varied: tuple[str, ...],
    fixed: tuple[str, ...],
    minimize: bool,
    pruner: str,
    labels: tuple[str, ...],
    wait: bool,
    **fields: Any,
) -> None:
    """Find the best training on DATASET, and commit what it made to OUTPUT."""
    train = {"dataset": dataset, "output": output, "base": base, **_nested(fixed)}
    search = client.searches.submit(
        SearchSpec.model_validate(
            {
                "train": train,
                "space": parse_space(varied),
                "direction": "minimize" if minimize else "maximize",
                "resources": {"labels": list(labels)},
                "pruner": None if pruner == "none" else {"kind": pruner},
                **fields,
            }
        )
    )
    if not wait:
        click.echo(f"Search {search.id} has begun.")
        return
    _follow(client, search)


@tune.command("list")
@click.option("--team", default=None)
@click.option("--state", type=click.Choice([str(one) for one in SearchState]), default=None)
@with_client
def list_searches(client: Client, team: str | None, state: str | None) -> None:
    """Searches, newest first."""
    table = new_table("search", "name", "state", "trials", "best", "by")
    for one in client.searches.list(team=team, state=SearchState(state) if state else None):
        best = "" if one.best is None or one.best.value is None else f"{one.best.value:.4g}"
        table.add_row(str(one.id), one.name, one.state, f"{one.asked}/{one.spec.limit}", best, one.created_by)
    print_table(table)


@tune.command("show")
@click.argument("search", type=click.UUID)
@click.option("--all", "all_of_them", is_flag=True, help="Every trial by its number; else the best ones.")
@with_client
def show_search(client: Client, search: UUID, *, all_of_them: bool) -> None:
    """A search's best trials, and what mattered."""
    view = client.searches.get(search)
    _echo(view)
    found = list(client.searches.trials(search))
    if not all_of_them:
        sign = -1 if view.spec.direction == "maximize" else 1
        known = sorted((one.value * sign, one.number, one) for one in found if one.value is not None)
        found = [one for _, _, one in known[:_BEST_SHOWN]]
    names = sorted(view.spec.space)
    table = new_table("trial", "state", view.spec.metric, *names, "version")
    for one in found:
        values = [_value(one.params.get(name)) for name in names]
        value = "" if one.value is None else f"{one.value:.4g}"
        table.add_row(str(one.number), one.state, value, *values, one.version or one.reason)
    print_table(table)


@tune.command("watch")
@click.argument("search", type=click.UUID)
@with_client
def watch_search(client: Client, search: UUID) -> None:
    """Follow a search to its end."""
    _follow(client, client.searches.get(search))


@tune.command("stop")
@click.argument("search", type=click.UUID)
@with_client
def stop_search(client: Client, search: UUID) -> None:
    """Begin no trial any more; those that run are let end, and the best version is kept."""
    _echo(client.searches.stop(search))


@tune.command("cancel")
@click.argument("search", type=click.UUID)
@with_client
def cancel_search(client: Client, search: UUID) -> None:
    """End a search and its trials now."""
    _echo(client.searches.cancel(search))


@tune.command("resume")
@click.argument("search", type=click.UUID)
@click.option("--trials", type=int, default=0, help="So many more than it had been asked for.")
@with_client
def resume_search(client: Client, search: UUID, trials: int) -> None:
    """Go on with a search that has ended."""
    _echo(client.searches.resume(search, trials=trials))


def add_to(main: click.Group) -> None:
    main.add_command(tune)


def _nested(texts: tuple[str, ...]) -> dict[str, Any]:
    """`architecture.embedding_size=8` as {"architecture": {"embedding_size": 8}}."""
    fields: dict[str, Any] = {}
    for text in texts:
        name, value = divide(text)
        *path, last = name.split(".")
        inside = fields
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = read_value(value)
    return fields


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _echo(view: SearchView) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in view.trials.items())
    click.echo(
        f"{click.style(view.name, bold=True)} is {view.state}: {counts or 'no trial yet'}. {view.message}".strip()
    )
    if view.best is not None and view.best.value is not None:
        params = ", ".join(f"{name} {_value(value)}" for name, value in view.best.params.items())
        click.echo(f"  best {view.spec.metric} {view.best.value:.4g} in trial {view.best.number}: {params}")
        click.echo(f"  {view.version or view.best.version or 'its version is gone'}")
    if view.importance:
        click.echo("  what mattered: " + ", ".join(f"{name} {share:.0%}" for name, share in view.importance.items()))


def _follow(client: Client, search: SearchView) -> None:
    """Shows a search's progress to its end; the status is 1 unless it gave something."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}")]
    with Progress(*columns, TimeElapsedColumn()) as progress:
        bar = progress.add_task(f"search {str(search.id)[:8]}", total=search.spec.limit)

        def show(view: SearchView) -> None:
            ended = sum(count for state, count in view.trials.items() if state != "running")
            best = "" if view.best is None or view.best.value is None else f", best {view.best.value:.4g}"
            progress.update(bar, completed=ended, description=f"search {str(view.id)[:8]} {view.state}{best}")

        final = client.searches.wait(search.id, on_change=show)
    if final.state in {SearchState.SUCCEEDED, SearchState.STOPPED}:
        _echo(final)
        return
    fail(str(final.state), final.message or "The search has ended without a result.")
