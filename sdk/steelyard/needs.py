"""The options by which a command says what its job needs of the machine that does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from steelyard_contracts.workers import Resources, parse_labels

_OPTIONS = (
    click.option("--on", "labels", multiple=True, help="Labels that the machine must have, such as gpu:a100,lab."),
    click.option("--gpus", type=click.IntRange(0, 64), default=0, help="GPUs that it must have."),
    click.option("--gpu-memory-gb", type=click.FloatRange(min=0), default=0.0, help="Memory of each of them."),
    click.option("--memory-gb", type=click.FloatRange(min=0), default=0.0, help="Its main memory."),
    click.option("--processes", type=click.IntRange(1, 64), default=1, help="Processes that train together."),
    click.option(
        "--hosts", type=click.IntRange(1, 64), default=1, help="Machines that train together, each like this."
    ),
)


def with_needs(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; the command gets them as one `resources`."""

    @wraps(command)
    def wrapped(*args: Any, labels: tuple[str, ...], **kwargs: Any) -> None:
        needs = {name: kwargs.pop(name) for name in ("gpus", "gpu_memory_gb", "memory_gb", "processes", "hosts")}
        command(*args, resources=Resources(labels=parse_labels(labels), **needs), **kwargs)

    made: Callable[..., None] = wrapped
    for option in reversed(_OPTIONS):
        made = option(made)
    return made
