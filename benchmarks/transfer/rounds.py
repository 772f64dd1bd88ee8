"""A round: every contestant takes every step, one after another at each step, so that noise hits all of them alike."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.transfer.measure import Cost, Relay, settled_seconds, size, timed
from benchmarks.transfer.peer import Peer, Place, Server
from tests.support.environments import NotInstalledError

START = "start"
SCENARIOS = {
    "base": "new weights",
    "head": "head-only fine-tune (2 %)",
    "attention": "attention fine-tune (30 %)",
    "full": "full fine-tune",
    "fp16": "cast to fp16",
    "reordered": "same tensors, reordered",
    "metadata": "same tensors, other metadata",
    "pt": "same tensors, as .pt",
}


@dataclass(frozen=True, slots=True)
class Step:
    act: str
    scenario: str
    title: str

    @property
    def key(self) -> str:
        return f"{self.act} {self.scenario}"


def _push(scenario: str) -> Step:
    return Step("push", scenario, f"push {SCENARIOS[scenario]}")


STEPS = [
    Step(START, "", "the program's start alone"),
    _push("base"),
    Step("pull", "base", "pull it, cold"),
    _push("head"),
    Step("pull", "head", "update to it"),
    *(_push(scenario) for scenario in SCENARIOS if scenario not in {"base", "head"}),
]
# Contestant, then step.
Costs = dict[str, dict[str, Cost]]


@dataclass(frozen=True, slots=True)
class Running:
    peer: Peer
    server: Server | None
    relay: Relay | None


def play(kinds: list[type[Peer]], weights: Path, folder: Path, port: int, *, counted: bool) -> tuple[Costs, list[str]]:
    """Returns the costs, and a sentence for each contestant that is not installed.

    A counted round goes through relays and says what is moved; any other is timed.
    """
    costs: Costs = {}
    absent: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(_emptied(folder))
        running = []
        for number, kind in enumerate(kinds):
            try:
                place = Place(folder / kind.name, port + 2 * number, port + 2 * number + counted)
                running.append(stack.enter_context(_started(kind(place), counted=counted)))
            except NotInstalledError as error:
                absent.append(f"{kind.name}: {error}")
        for step in STEPS:
            for one in running:
                cost = _take(one, step, weights, folder / "output.log")
                costs.setdefault(one.peer.name, {})[step.key] = cost
                print(f"{one.peer.name:>10}  {step.title:<40}{cost.wall:8.2f} s", flush=True)
    return costs, absent


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """Empty before, gone after; what a failed round has left stays to be looked at."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield
    shutil.rmtree(folder)


@contextmanager
def _started(peer: Peer, *, counted: bool) -> Iterator[Running]:
    with ExitStack() as stack:
        place = peer.place
        relay = stack.enter_context(Relay(place.client_port, place.server_port)) if counted else None
        server = peer.start()
        if server:
            stack.callback(server.stop)
            settled_seconds(server)
        yield Running(peer, server, relay)


def _take(one: Running, step: Step, weights: Path, log: Path) -> Cost:
    peer = one.peer
    if step.act == START:
        return timed([peer.version()], None, log)
    if step.act == "push":
        _lay_out(weights / step.scenario, peer.place.outgoing)
    commands = peer.push() if step.act == "push" else peer.pull()
    kept = peer.stored() if step.act == "push" else peer.received()
    before = size(kept) if kept else 0
    passed = one.relay.count if one.relay else 0
    cost = timed(commands, one.server, log)
    if step.act == "pull":
        _check(weights / step.scenario, peer.pulled())
    grown = size(kept) - before if kept else None
    moved = grown if one.server is None else (one.relay.count - passed if one.relay else None)
    return replace(cost, moved=moved, stored=grown if step.act == "push" else None)


def _lay_out(source: Path, target: Path) -> None:
    """The next weights take the former ones' place, without the time and memory of a copy."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for file in source.iterdir():
        os.link(file, target / file.name)


def _check(expected: Path, found: Path) -> None:
    for file in expected.iterdir():
        if not filecmp.cmp(file, found / file.name, shallow=False):
            raise RuntimeError(f"{found / file.name} is not what was pushed")
