"""Runs of a source into their project, each once: its key follows from where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID, uuid5

from steelyard.client import Client
from steelyard.handover.mlflow_sending import MLflowSender
from steelyard.handover.mlflow_writing import PARENT
from steelyard.handover.naming import Names
from steelyard.handover.run_files import AUTHOR
from steelyard.handover.source import Point, SourceGoneError, SourceRepository, SourceRun
from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.jobs import JobView, LogLine
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_contracts.tracking import (
    MOST_LINES,
    MOST_POINTS,
    RunFinish,
    RunLines,
    RunPoint,
    RunPoints,
    RunRequest,
    SavedVersion,
)

_ROOM = UUID("6f1d0a7e-6b0b-5f0e-9d55-5f7e6a6c1a52")  # in which the keys of imported runs are made
_RUNS = "/api/v1/runs"
_LONGEST_LINE = 8_000
_EARLY = datetime(1970, 1, 1, tzinfo=UTC)
Item = TypeVar("Item")


def send_runs(
    client: Client,
    ref: Ref,
    source: SourceRepository,
    saved: list[tuple[str, str]],
    names: Names,
    say: Callable[[str], None],
) -> tuple[int, dict[str, str]]:
    """How many are new, and the ids of all of them here by their keys.

    `saved`: (run's key, label of a version here) for the versions that runs saved.
    """
    count, ids, mlflow = 0, dict[str, str](), MLflowSender(client, ref)
    for run in sorted(source.runs, key=lambda run: run.started_at or _EARLY):  # a parent before its children
        within = {PARENT: ids[run.parent]} if run.parent in ids else {}
        view = _start(client, ref, run, names, source.faults, tags=within)
        ids[run.key or run.name] = view.id.hex
        labels = [label for name, label in saved if name == (run.key or run.name)]
        if view.state.is_final:
            continue  # it came whole before
        address = f"{_RUNS}/{view.id}"
        for points in _batches(run.points(), MOST_POINTS):
            body = RunPoints(points=[_point(point) for point in points])
            client.transport.call("POST", f"{address}/points", body=body)
        for lines in _batches(enumerate(run.lines()), MOST_LINES):
            numbered = [LogLine(number=number, text=text[:_LONGEST_LINE]) for number, text in lines]
            client.transport.call("POST", f"{address}/lines", body=RunLines(lines=numbered))
        for label in labels:
            client.transport.call("POST", f"{address}/versions", body=SavedVersion(version=label))
        for made, label in run.registered:
            _note_registered(client, address, parse_ref(names.text(f"{made.ref}@{label}")), ref)
        try:
            mlflow.send_files_of_run(view.id.hex, run.files())
            mlflow.send_inputs(view.id.hex, run.inputs)
        except SourceGoneError as error:
            source.faults.append(f"files of the run {run.name} did not come: {error}")
        end = RunFinish.model_validate(
            {"state": run.state, "error": run.error or None, "result": run.result, "at": run.finished_at}
        )
        client.transport.call("POST", f"{address}/finish", body=end)
        count += 1
        say(f"{ref}: the run {view.run.name if view.run else run.name}")
    return count, ids


def _note_registered(client: Client, address: str, made: Ref, home: Ref) -> None:
    """That a version of another model was made of the run, where it came."""
    if made.repository == home.repository or not made.revision:
        return
    with suppress(NotFoundError):
        body = SavedVersion(version=made.revision, model=made.repository)
        client.transport.call("POST", f"{address}/versions", body=body)


def _start(client: Client, ref: Ref, run: SourceRun, names: Names, faults: list[str], tags: dict[str, str]) -> JobView:
    """The run, new or from an earlier import. What it was given is left out where it is not here."""
    began = run.started_at.isoformat() if run.started_at else ""
    fields: dict[str, Any] = {
        "project": ref.repository,
        "name": run.name,
        "config": run.config,
        "source": run.source,
        "environment": run.environment,
        "git": run.git,
        "key": uuid5(_ROOM, f"{ref}|{run.key or run.name}|{began}"),
        "started_at": run.started_at,
        "tags": {**run.tags, **tags, **({AUTHOR: run.author} if run.author else {})},
    }
    datasets = [text for text in map(names.text, run.datasets) if _is_here(client, text, RepositoryKind.DATASET)]
    base = names.text(run.base) if run.base else None
    given = {"datasets": datasets, "base": base if base and _is_here(client, base, RepositoryKind.MODEL) else None}
    if lost := {*map(names.text, run.datasets), *([base] if base else [])} - {*datasets, given["base"]}:
        faults.append(f"the run {run.name} came without what it was given and is not here: {', '.join(sorted(lost))}")
    body = RunRequest.model_validate({**fields, **given})
    return client.transport.post(JobView, _RUNS, body, repeatable=True)


def _is_here(client: Client, text: str, kind: RepositoryKind) -> bool:
    try:
        client.version(parse_ref(text, kind=kind))
    except NotFoundError:
        return False
    return True


def _point(point: Point) -> RunPoint:
    return RunPoint(name=point.name, step=max(point.step, 0), value=point.value, timestamp=point.at)


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, size)):
        yield batch
