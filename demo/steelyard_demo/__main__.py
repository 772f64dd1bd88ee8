"""`python -m steelyard_demo [--exit] [--port 8000]`, which is `make demo`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from types import FrameType

from rich.console import Console

from steelyard_contracts.errors import SteelyardError
from steelyard_demo import installation
from steelyard_demo.installation import ROOT, TEAM, USER, DemoError
from steelyard_demo.story import Story
from steelyard_demo.summary import print_summary

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _StopError(Exception):
    """Somebody pressed Ctrl-C, or the process was told to end."""


def main() -> int:
    """0 when the whole story came out as it must."""
    options = _options()
    console = Console()
    for one in _STOPPING:
        signal.signal(one, _stop)
    story: Story | None = None
    server: installation.Installation | None = None
    started = time.monotonic()
    try:
        server = installation.start(ROOT / "var" / "demo", options.port)
        story = Story(server, console)
        story.tell()
        print_summary(story.results, console)
        console.print(f"The story took {time.monotonic() - started:.0f} s.", highlight=False)
        if not options.exit:
            _stay_up(server, console)
    except _StopError:
        console.print("Stopping.")
        return 0 if story and "devices" in story.results else 130
    except (DemoError, SteelyardError) as error:
        console.print(f"[bold red]The story broke off:[/] {error}", highlight=False)
        return 1
    finally:
        for one in _STOPPING:
            signal.signal(one, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        for device in story.devices if story else []:
            device.stop()
        if server:
            server.stop()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description="The whole loop on real pictures.")
    parser.add_argument("--exit", action="store_true", help="end after the story instead of staying up")
    parser.add_argument("--port", type=int, default=8000, help="port of the dashboard, or the next free one")
    return parser.parse_args()


def _stay_up(server: installation.Installation, console: Console) -> None:
    console.print(f"\n[bold]The dashboard:[/] {server.url}/{TEAM}/reader", highlight=False)
    console.print(f"[bold]Sign in as[/] {USER} [bold]with[/] {server.password}", highlight=False)
    console.print("Ctrl-C stops everything.")
    while server.process.poll() is None:
        time.sleep(0.5)
    raise DemoError("The server ended by itself; see var/demo/logs.")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _StopError


if __name__ == "__main__":
    sys.exit(main())
