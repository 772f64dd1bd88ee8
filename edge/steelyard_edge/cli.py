"""The `steelyard-edge` command, for the device."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import click

from steelyard_contracts.errors import SteelyardError
from steelyard_edge.identity import load_identity
from steelyard_edge.journal import load_journal
from steelyard_edge.releases import Releases

_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/steelyard"),
    show_default=True,
    help="Its state.",
)


class _Commands(click.Group):
    """Turns errors into one sentence on stderr and the status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except SteelyardError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Commands)
def main() -> None:
    """Runs released models on this device, and goes back when one does not work."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("httpx2").setLevel(logging.WARNING)


@main.command()
@click.option("--url", required=True, help="Address of the platform.")
@click.option("--token", required=True, help="An enrolment token of the team.")
@click.option("--name", required=True, help="This device's name.")
@_FOLDER
def enrol(url: str, token: str, name: str, folder: Path) -> None:
    """Ask for a place in a team; an operator accepts it."""
    from steelyard_edge.agent import enrol as ask

    answer = ask(folder, url=url, token=token, name=name)
    click.echo(f"{name} is {answer.state}. Run `steelyard-edge run` and it goes on once it is accepted.")


@main.command()
@click.option(
    "--health-command",
    default="",
    help="Run after a switch with the release's folder; any status but 0 rolls back.",
)
@_FOLDER
def run(folder: Path, health_command: str) -> None:
    """Poll and install, until stopped."""
    from steelyard_edge.agent import Agent

    stop = threading.Event()

    def finish(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    Agent(folder, health_command=health_command).run(stop)


@main.command()
@_FOLDER
def status(folder: Path) -> None:
    """What this device is and runs, as JSON."""
    identity, journal = load_identity(folder), load_journal(folder)
    click.echo(
        json.dumps(
            {
                "name": identity.name,
                "url": identity.url,
                "running": Releases(folder).running,
                "last_install": journal.model_dump(mode="json") if journal else None,
            },
            indent=2,
        )
    )


@main.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@_FOLDER
def classify(pictures: tuple[Path, ...], folder: Path) -> None:
    """Classify pictures with what the device runs; one JSON object a line."""
    from steelyard_edge.model import Classifier, picture_paths

    current = Releases(folder).current
    if current is None:
        raise SteelyardError("This device runs nothing yet.")
    for prediction in Classifier(current).classify(picture_paths(list(pictures))):
        click.echo(
            json.dumps({"path": prediction.path, "label": prediction.label, "score": round(prediction.score, 4)})
        )
