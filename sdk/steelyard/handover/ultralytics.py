"""What Ultralytics writes: the folder of a training, and the NDJSON export of a dataset.

runs/detect/train/args.yaml       the arguments             → the run's configuration
runs/detect/train/results.csv     a row for each epoch      → its metrics
runs/detect/train/weights/*.pt    what it saved             → a version
dataset.ndjson                    see `ndjson`
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from steelyard.handover.naming import NOBODY
from steelyard.handover.ndjson import dataset_of
from steelyard.handover.plain import changed_at, local_version, slug
from steelyard.handover.source import File, LocalFile, Point, SourceRepository, SourceRun, folder_tree
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import Ref, RepositoryKind

_RESULTS, _ARGUMENTS = "results.csv", "args.yaml"
_EPOCH, _TIME = "epoch", "time"  # seconds since the start, as of 8.3


def is_ultralytics(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".ndjson"
    return (path / _ARGUMENTS).is_file() or any(path.glob(f"*/{_ARGUMENTS}"))


class Ultralytics:
    """A training's folder, a folder of several, or an NDJSON export of a dataset."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    def repositories(self) -> list[SourceRepository]:
        if self._path.is_file():
            return [dataset_of(self._path)]
        folders = [self._path] if (self._path / _ARGUMENTS).is_file() else _trainings(self._path)
        if not folders:
            raise InvalidInputError(f"{self._path} has no {_ARGUMENTS}, which Ultralytics writes for each training.")
        name = folders[0].parent.name if len(folders) == 1 else self._path.name
        found = SourceRepository(ref=Ref(RepositoryKind.MODEL, NOBODY, slug(name)))
        for folder in folders:
            _add_training(found, folder)
        found.created_at = min(run.started_at for run in found.runs if run.started_at)
        return [found]


def _trainings(folder: Path) -> list[Path]:
    found = [path.parent for path in folder.glob(f"*/{_ARGUMENTS}")]
    return sorted(found, key=lambda one: (one / _ARGUMENTS).stat().st_mtime)


def _add_training(found: SourceRepository, folder: Path) -> None:
    arguments = _yaml(folder / _ARGUMENTS)
    rows = list(_rows(folder / _RESULTS))
    started = changed_at(folder / _ARGUMENTS)
    ended = changed_at(folder / _RESULTS) if rows else started
    if rows and (seconds := _number(rows[-1].get(_TIME))) is not None:
        started = min(started, ended - timedelta(seconds=seconds))
    weights = {path.name: LocalFile(path) for path in sorted((folder / "weights").glob("*.pt"))}
    found.runs.append(
        SourceRun(
            name=folder.name,
            state="succeeded" if weights else "failed",
            started_at=started,
            finished_at=ended,
            config=arguments,
            source="import",
            tags={"from": "ultralytics"},
            points=partial(_points, rows, started),
        )
    )
    if weights:
        files: dict[str, File] = {f"weights/{name}": file for name, file in weights.items()}
        files |= {path: file for path, file in folder_tree(folder).items() if path in {_ARGUMENTS, _RESULTS}}
        version = local_version(files, title=f"Weights of {folder.name}", label=folder.name)
        version.run = folder.name
        found.versions.append(version)
    else:
        found.faults.append(f"{folder} has no weights/*.pt, so the run comes without a version")


def _points(rows: list[dict[str, str]], started: datetime) -> Iterator[Point]:
    """By epoch from 0, as the client reports a run that is live; its tables begin with 1, those of older ones with 0.

    NaN is kept; what is no number is left out.
    """
    first = (_finite(rows[0].get(_EPOCH)) or 0) if rows else 0
    for number, row in enumerate(rows):
        epoch, seconds = _finite(row.get(_EPOCH)), _finite(row.get(_TIME))
        step = max(int(epoch - min(first, 1)), 0) if epoch is not None else number
        at = round(started.timestamp() * 1000 + seconds * 1000) if seconds is not None else None
        for name, text in row.items():
            value = _number(text)
            if name not in {_EPOCH, ""} and value is not None:
                yield Point(name, step, value, at)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Its head is padded with spaces by older versions."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {(name or "").strip(): (text or "").strip() for name, text in row.items() if isinstance(text, str)}


def _yaml(path: Path) -> dict[str, Any]:
    """Raises: InvalidInputError."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path} cannot be read as YAML.") from error
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def _finite(text: Any) -> float | None:
    value = _number(text)
    return value if value is not None and math.isfinite(value) else None


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
