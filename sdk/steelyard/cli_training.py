"""`steelyard train` and `zoo`: every field of a training as an option, in groups, and the networks it can name."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from steelyard.cli_jobs import changed_fields, follow
from steelyard.client import Client
from steelyard.needs import with_needs
from steelyard.terminal import echo_json, fail, new_table, print_table, with_client
from steelyard_contracts.tasks import Task
from steelyard_contracts.training import AdapterFate, TrainSpec

# The fields of `TrainSpec` as people look for them; dataset and output are the command's arguments.
GROUPS: dict[str, tuple[str, ...]] = {
    "The network": ("task", "model", "base", "base_file", "image_size", "branch"),
    "What of a base learns": ("freeze", "unfrozen_stages", "unfreeze_every", "layer_decay"),
    "How long, and how much at once": (
        "epochs", "batch_size", "memory_share", "accumulate", "patience", "keep", "checkpoint_every",
        "checkpoint_seconds",
    ),
    "How it learns": (
        "optimizer", "learning_rate", "weight_decay", "momentum", "nesterov", "schedule", "warm_up", "final_rate",
        "clip_norm", "ema", "label_smoothing", "class_weights", "augment",
    ),
    "How it runs": ("precision", "compile", "deterministic", "seed"),
}  # fmt: skip
# Models of their own inside the spec: by --lora, or by --set augmentation.flip=true.
NESTED = frozenset({"architecture", "augmentation", "adapter"})


class _Grouped(click.Command):
    """Help that lists the options by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        known = {one.name: one.get_help_record(ctx) for one in self.get_params(ctx)}
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([record for name in names if (record := known.pop(name))])
        with formatter.section("Options"):
            formatter.write_dl([record for record in known.values() if record])


def _spec_options(command: click.Command) -> click.Command:
    """Adds an option for each field; what is not given is left to the platform's defaults."""
    command.params += [_option(name) for names in GROUPS.values() for name in names]
    return command


def _option(name: str) -> click.Option:
    field = TrainSpec.model_fields[name]
    word = name.replace("_", "-")
    default = field.get_default()
    told = f"{field.description or ''}{f'  [{default}]' if default is not None else ''}".strip()
    if field.annotation is bool:
        return click.Option([f"--{word}/--no-{word}"], default=None, help=told)
    return click.Option([f"--{word}"], type=_type(field.annotation), default=None, help=told, multiple=name == "freeze")


def _type(annotation: Any) -> Any:
    """A choice, a number, or a text that the contract reads."""
    if get_origin(annotation) in {Union, UnionType}:
        parts = [one for one in get_args(annotation) if one is not NoneType]
        return _type(parts[0]) if len(parts) == 1 else click.STRING
    if get_origin(annotation) is Annotated:
        return _type(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return click.Choice([str(one) for one in annotation])
    return {int: click.INT, float: click.FLOAT}.get(annotation, click.STRING)


@click.command(cls=_Grouped)
@click.argument("dataset")
@click.argument("output")
@click.option("--lora", type=int, metavar="RANK", help="Learn low-rank adapters of this rank on a frozen base.")
@click.option("--keep-adapter", is_flag=True, help="Commit the adapter alone instead of merging it into the base.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Any field, such as augmentation.flip=true."
)
@click.option("--estimate", is_flag=True, help="Say how long it will probably take, and what it costs; queue nothing.")
@click.option("--wait/--no-wait", default=True)
@with_needs
@with_client
def train(
    client: Client,
    dataset: str,
    output: str,
    *,
    lora: int | None,
    keep_adapter: bool,
    changes: tuple[str, ...],
    estimate: bool,
    wait: bool,
    **fields: Any,
) -> None:
    """Train a network on DATASET and commit it to OUTPUT.

    Without --model or --base it is a small classifier from scratch. `steelyard zoo` lists what --model can name.
    """
    given = {name: value for name, value in fields.items() if value not in (None, ())}
    for name, read in _READERS.items():
        if name in given:
            given[name] = read(given[name])
    if lora is not None or keep_adapter:
        fate = AdapterFate.KEPT if keep_adapter else AdapterFate.MERGED
        given["adapter"] = {"fate": fate, **({"rank": lora} if lora is not None else {})}
    for name, value in changed_fields(changes).items():
        known = given.get(name)
        given[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    if estimate:
        click.echo(client.runs.estimate_training(dataset=dataset, output=output, **given).words)
        return
    follow(client, client.train(dataset=dataset, output=output, **given), wait=wait)


@click.command()
@click.option("--task", type=click.Choice([str(one) for one in Task]), default=None)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_client
def zoo(client: Client, *, task: str | None, as_json: bool) -> None:
    """List the networks that `steelyard train --model` can name."""
    found = client.zoo(Task(task) if task else None)
    if as_json:
        echo_json(found)
        return
    table = new_table("model", "task", "family", "parameters", "pixels", "for")
    for one in found:
        table.add_row(one.name, one.task, one.family, f"{one.millions} M", str(one.image_size), one.description)
    print_table(table)


def add_to(main: click.Group) -> None:
    main.add_command(_spec_options(train))
    main.add_command(zoo)


def _freeze(given: tuple[str, ...]) -> str | list[str]:
    """`--freeze backbone`, or patterns, each with its own --freeze."""
    return given[0] if given in {("none",), ("backbone",)} else list(given)


def _class_weights(given: str) -> str | dict[str, float]:
    """`balanced`, or `cat=2,dog=0.5`."""
    if "=" not in given:
        return given
    try:
        return {label: float(weight) for label, _, weight in (part.rpartition("=") for part in given.split(","))}
    except ValueError:
        fail("error", f"--class-weights {given!r} is neither 'balanced' nor like cat=2,dog=0.5")


_READERS: dict[str, Callable[[Any], Any]] = {"freeze": _freeze, "class_weights": _class_weights}
