"""What Weights & Biases leaves on a disk: downloaded artifacts, and the folder of a run.

artifacts/my-model:v0/…                        the files of a version of an artifact
wandb/run-20240102_030405-abc123/files/        config.yaml, wandb-summary.json, wandb-metadata.json, output.log
wandb/run-20240102_030405-abc123/run-abc123.wandb

The `.wandb` file holds the run's whole history, the system's measurements and the console as binary records of their
own protocol. It is not read: of each metric the last value comes, from the summary. W&B counts versions from v0, and a
repository here from v1: what was v0 becomes v1, and its tag `wandb-v0` says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from steelyard.handover.naming import NOBODY
from steelyard.handover.plain import changed_at, local_version, slug
from steelyard.handover.source import Point, SourceRepository, SourceRun, folder_tree, moment
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import Ref, RepositoryKind

_ARTIFACT = re.compile(r"(?P<name>.+)[:-]v(?P<number>[0-9]{1,9})")  # a colon, or what Windows has in its place
_RUN = re.compile(r"(?:offline-)?run-(?P<day>[0-9]{8})_(?P<time>[0-9]{6})-(?P<id>[A-Za-z0-9_]+)")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_SUMMARY, _CONFIG, _METADATA, _OUTPUT = "wandb-summary.json", "config.yaml", "wandb-metadata.json", "output.log"


def is_wandb(path: Path) -> bool:
    return path.is_dir() and bool(_runs(path) or _artifacts(path))


class WandB:
    """An artifact's folder, a folder of several, a run's folder, a `wandb/` folder with several, or what holds both."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    def repositories(self) -> list[SourceRepository]:
        """Raises: InvalidInputError when there is neither."""
        found = [_repository(name, versions) for name, versions in _artifacts(self._path).items()]
        runs = _runs(self._path)
        if runs:
            found.append(_project(self._path, runs))
        if not found:
            raise InvalidInputError(
                f"{self._path} is neither a downloaded artifact (a folder such as my-model:v3) nor a folder of runs."
            )
        return found


def _artifacts(path: Path) -> dict[str, list[tuple[int, Path]]]:
    """Name → (number, folder), by number."""
    found: dict[str, list[tuple[int, Path]]] = {}
    inside = [*path.glob("*"), *path.glob("artifacts/*")]
    for folder in [path, *(one for one in sorted(inside) if one.is_dir())]:
        if (match := _ARTIFACT.fullmatch(folder.name)) and not _RUN.fullmatch(folder.name):
            found.setdefault(match["name"], []).append((int(match["number"]), folder))
    return {name: sorted(versions) for name, versions in found.items()}


def _runs(path: Path) -> list[Path]:
    """A link such as latest-run is another name of a run that is there too."""
    inside = [*path.glob("*"), *path.glob("wandb/*")]
    folders = [path, *(one for one in sorted(inside) if one.is_dir() and not one.is_symlink())]
    return [folder for folder in folders if _RUN.fullmatch(folder.name) and (folder / "files").is_dir()]


def _repository(name: str, versions: list[tuple[int, Path]]) -> SourceRepository:
    found = SourceRepository(ref=Ref(RepositoryKind.MODEL, NOBODY, slug(name)))
    for number, folder in versions:
        version = local_version(dict(folder_tree(folder)), title=f"{name}:v{number}", label=f"v{number}")
        version.number = number + 1
        found.versions.append(version)
        found.tags.append({"name": f"wandb-v{number}", "version": version.label, "message": "its number in W&B"})
    found.created_at = min(version.created_at for version in found.versions)
    return found


def _project(path: Path, folders: list[Path]) -> SourceRepository:
    metadata = _json(folders[0] / "files" / _METADATA)
    place = path if not _RUN.fullmatch(path.name) else path.parent
    name = metadata.get("project") or (place.parent.name if place.name == "wandb" else place.name)
    found = SourceRepository(ref=Ref(RepositoryKind.MODEL, NOBODY, slug(str(name))))
    for folder in folders:
        found.runs.append(_run(folder))
        if binary := next(folder.glob("*.wandb"), None):
            found.faults.append(
                f"the history in {binary.name} is binary and is not read: of each metric, the last value"
            )
    found.created_at = min(run.started_at for run in found.runs if run.started_at)
    return found


def _run(folder: Path) -> SourceRun:
    files = folder / "files"
    match = _RUN.fullmatch(folder.name)
    assert match is not None  # noqa: S101 - `_runs` looked
    summary, metadata = _json(files / _SUMMARY), _json(files / _METADATA)
    named = datetime.strptime(f"{match['day']}{match['time']}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    started = _date(metadata.get("startedAt")) or named
    last = summary.get("_timestamp")
    ended = datetime.fromtimestamp(last, UTC) if isinstance(last, int | float) else _newest(files, started)
    remote = (metadata.get("git") or {}) if isinstance(metadata.get("git"), dict) else {}
    return SourceRun(
        name=str(metadata.get("displayName") or match["id"]),
        key=match["id"],
        author=metadata.get("username") or None,
        state="succeeded" if summary else "failed",
        started_at=started,
        finished_at=max(ended, started),
        config=_config(files / _CONFIG),
        tags={"wandb.run_id": match["id"]},
        environment={
            name: str(metadata[name]) for name in ("host", "os", "python", "gpu", "program") if metadata.get(name)
        },
        git={"commit": str(remote["commit"])} if remote.get("commit") else None,
        source="import",
        points=partial(_points, summary),
        lines=partial(_lines, files / _OUTPUT),
    )


def _points(summary: Mapping[str, Any]) -> Iterator[Point]:
    """The last value of each metric, at the last step."""
    step = summary.get("_step")
    for name, value in _flat(summary):
        if not name.startswith("_"):
            yield Point(name, int(step) if isinstance(step, int | float) else 0, value)


def _flat(summary: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    for name, value in summary.items():
        if isinstance(value, dict) and "_type" not in value:
            yield from _flat(value, f"{before}{name}.")
        elif _is_number(value):
            yield f"{before}{name}", float(value)


def _is_number(value: Any) -> bool:
    """W&B writes what is not finite by its name."""
    if isinstance(value, str):
        return value in _NOT_FINITE
    return isinstance(value, int | float) and not isinstance(value, bool)


def _config(path: Path) -> dict[str, Any]:
    """Each key's `value`, without what W&B keeps for itself."""
    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path} cannot be read as YAML.") from error
    rows = found.items() if isinstance(found, dict) else ()
    return {
        str(key): row["value"] if isinstance(row, dict) and "value" in row else row
        for key, row in rows
        if key not in {"_wandb", "wandb_version"}
    }


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                yield line.rstrip("\n")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInputError(f"{path} is no JSON.") from error
    return found if isinstance(found, dict) else {}


def _date(text: Any) -> datetime | None:
    try:
        return moment(text) if text else None
    except InvalidInputError:
        return None


def _newest(folder: Path, otherwise: datetime) -> datetime:
    return max((changed_at(path) for path in folder.glob("*") if path.is_file()), default=otherwise)
