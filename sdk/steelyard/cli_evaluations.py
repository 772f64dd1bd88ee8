"""`steelyard evaluate`, `evaluations` and `predict`: measuring versions, comparing them, trying them."""

from __future__ import annotations

import click

from steelyard.cli_jobs import follow
from steelyard.client import Client
from steelyard.terminal import new_table, print_table, with_client
from steelyard_contracts.evaluation import ComparedPlace, Difference, EvaluationView, Interval


@click.command()
@click.argument("model")
@click.argument("dataset")
@click.option("--split", default="validation", show_default=True)
@click.option("--samples", type=int, default=12, show_default=True, help="Pictures to keep that it did worst on.")
@click.option("--wait/--no-wait", default=True)
@with_client
def evaluate(client: Client, model: str, dataset: str, *, split: str, samples: int, wait: bool) -> None:
    """Measure MODEL on a split of DATASET."""
    follow(client, client.evaluate(model, dataset, split=split, samples=samples), wait=wait)


@click.group()
def evaluations() -> None:
    """What was measured of versions."""


@evaluations.command("list")
@click.argument("ref")
@with_client
def list_evaluations(client: Client, ref: str) -> None:
    """The evaluations of the version REF, newest first, with intervals of 95 %."""
    table = new_table("number", "dataset", "split", "runtime", "measure", "value", "interval")
    for one in client.evaluations.of(ref):
        for place, (metric, value) in enumerate(one.metrics.items()):
            first = [str(one.id), one.dataset, one.split, one.runtime] if place == 0 else [""] * 4
            table.add_row(*first, metric, f"{value:.4g}", _ends(one.intervals.get(metric)))
    print_table(table)


@evaluations.command("show")
@click.argument("ref")
@click.argument("number", type=int)
@with_client
def show_evaluation(client: Client, ref: str, number: int) -> None:
    """All that evaluation NUMBER of the version REF found, as JSON."""
    click.echo(client.evaluations.detail(ref, number).model_dump_json(indent=2))


@evaluations.command("compare")
@click.argument("refs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True)
@with_client
def compare(client: Client, refs: tuple[str, ...], *, as_json: bool) -> None:
    """Two versions or more side by side, such as team/model@v1 team/model@v2, each held against the first measured."""
    found = client.evaluations.compare(*refs)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    for place in found.places:
        _show(place)
    if not found.places:
        click.echo("No two of them were measured on the same split of a dataset.")


@click.command()
@click.argument("ref")
@click.argument("pictures", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--top", type=int, default=5, show_default=True, help="Labels of each picture.")
@click.option("--threshold", type=float, default=0.3, show_default=True, help="Boxes that are less sure are left out.")
@click.option("--json", "as_json", is_flag=True)
@with_client
def predict(client: Client, ref: str, pictures: tuple[str, ...], *, top: int, threshold: float, as_json: bool) -> None:
    """What the version REF makes of PICTURES, up to 16 of them."""
    answer = client.predict(ref, pictures, top=top, threshold=threshold)
    if as_json:
        click.echo(answer.model_dump_json(indent=2))
        return
    for path, one in zip(pictures, answer.pictures, strict=True):
        click.echo(click.style(path, bold=True) + f" ({one.latency_ms:.1f} ms)")
        for scored in [*one.labels, *one.shares]:
            click.echo(f"  {scored.score:.4f} {scored.label}")
        for found in one.boxes:
            click.echo(f"  {found.score:.4f} {found.label} at {', '.join(f'{side:.0f}' for side in found.box)}")
        if not (one.labels or one.shares or one.boxes):
            click.echo(f"  nothing as sure as {threshold:g}")
    click.echo(f"by {answer.version}, {answer.file}, in {answer.runtime}")


def _show(place: ComparedPlace) -> None:
    table = new_table(
        "version",
        "measure",
        "value",
        "interval",
        "difference",
        "its interval",
        "",
        title=f"{place.dataset} {place.split}",
    )
    for row in place.rows:
        if row.evaluation is None:
            table.add_row(row.version, "not measured here", "", "", "", "", "")
        elif row.differences:
            for one in row.differences:
                table.add_row(row.version, *_difference(one, row.evaluation))
        else:
            for metric, value in sorted(row.evaluation.metrics.items()):
                ends = _ends(row.evaluation.intervals.get(metric))
                table.add_row(row.version, metric, f"{value:.4g}", ends, "", "", "")
    print_table(table)


def _difference(one: Difference, evaluation: EvaluationView) -> tuple[str, ...]:
    words = {None: "", True: "within noise", False: "beyond noise"}[one.is_noise]
    ends = _ends(evaluation.intervals.get(one.metric))
    return one.metric, f"{one.right:.4g}", ends, f"{one.difference:+.4g}", _ends(one.interval), words


def _ends(interval: Interval | None) -> str:
    return f"{interval.low:.4g} to {interval.high:.4g}" if interval else ""


def add_to(main: click.Group) -> None:
    for command in (evaluate, evaluations, predict):
        main.add_command(command)
