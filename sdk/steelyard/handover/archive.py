"""A folder that an export wrote, as the source of an import: every file is held against its digest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from steelyard.handover.layout import Home, homes, read_digests, read_json, read_records
from steelyard.handover.run_files import logged_files, read_runs
from steelyard.handover.source import (
    File,
    LocalFile,
    LoggedModel,
    Registered,
    SourceRepository,
    SourceVersion,
    moment,
)
from steelyard_contracts.errors import InvalidInputError

_FIELDS = ("version", "branch", "title", "author", "created_at")


class Archive:
    """Of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def repositories(self) -> list[SourceRepository]:
        found = [_repository(home) for home in homes(self._folder)]
        runs = {(one.ref.repository, run.name): run for one in found for run in one.runs}
        for one in found:
            for version in one.versions:
                if version.made_by in runs:
                    runs[version.made_by].registered.append((one, version.label))
        return found


def _repository(home: Home) -> SourceRepository:
    about = read_json(home.folder / "repository.json")
    found = SourceRepository(
        ref=home.ref,
        public=bool(about.get("public")),
        created_at=moment(about.get("created_at")),
        branches=list(read_records(home.records("branches"))),
        tags=list(read_records(home.records("tags"))),
        aliases=list(read_records(home.records("aliases"))),
        moves=list(read_records(home.records("alias-history"))),
        gates=list(read_records(home.records("gates"))),
        edges=partial(read_records, home.records("lineage")),
        evaluations=partial(read_records, home.records("evaluations")),
        lineage_follows=True,
        runs=read_runs(home),
        logged=[_logged(folder) for folder in _numbered(home.folder / "logged-models")],
    )
    words = home.folder / "mlflow.json"
    said = read_json(words) if words.is_file() else {}
    found.registered = _registered(said)
    found.experiment_tags = dict(said.get("experiment_tags") or {})
    for record in read_records(home.records("versions")):
        _check(home, record)
        if why := record.get("left_out"):
            found.faults.append(f"{home.ref}@{record['version']} was left out of the export: {why}")
        else:
            version = _version(home, record)
            version.registered = _registered((said.get("versions") or {}).get(version.label) or {})
            found.versions.append(version)
    return found


def _registered(said: Mapping[str, Any]) -> Registered:
    return Registered(str(said.get("description") or ""), dict(said.get("tags") or {}), str(said.get("stage") or ""))


def _numbered(folder: Path) -> list[Path]:
    """Of logged models, in the order in which they were made: the tenth after the ninth."""
    found = (path.parent for path in folder.glob("*/model.json") if path.parent.name.isdecimal())
    return sorted(found, key=lambda one: int(one.name))


def _logged(folder: Path) -> LoggedModel:
    """Raises: InvalidInputError for a record that somebody has damaged."""
    record = read_json(folder / "model.json")
    run = str(record.get("run") or "")
    try:
        return LoggedModel(
            name=str(record.get("name") or ""),
            run=run,
            model_type=str(record.get("model_type") or ""),
            tags=dict(record.get("tags") or {}),
            params=dict(record.get("params") or {}),
            created_at=_at(record.get("created_at")),
            outputs=[(str(name), int(step)) for name, step in record.get("outputs", [(run, 0)] if run else [])],
            metrics=[{**one, "run_id": str(one["run_id"])} for one in record.get("metrics") or []],
            is_failed=bool(record.get("failed")),
            files=partial(logged_files, folder),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{folder / 'model.json'} is no record of a logged model ({error}).") from error


def _at(milliseconds: Any) -> datetime | None:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else None


def _version(home: Home, record: dict[str, Any]) -> SourceVersion:
    label, made_by = str(record["version"]), record.get("made_by")
    return SourceVersion(
        label=label,
        number=int(label[1:]),
        branch=record["branch"],
        title=record["title"],
        message=record.get("message", ""),
        author=record["author"],
        created_at=moment(record["created_at"]),
        commit=record.get("commit"),
        run=record.get("run"),
        made_by=(str(made_by.get("project")), str(made_by.get("run"))) if isinstance(made_by, dict) else None,
        files=record.get("files"),
        size=record.get("size"),
        tree=partial(_tree, home, label),
    )


def _tree(home: Home, label: str) -> Mapping[str, File]:
    """Raises: InvalidInputError for a version that is not whole."""
    if not home.digests(label).is_file():
        raise InvalidInputError(f"{home.digests(label)} is missing: the export broke off. Export again, then import.")
    folder = home.tree(label)
    return {path: LocalFile(folder / path, sha256, home.root) for path, sha256 in read_digests(home.digests(label))}


def _check(home: Home, record: dict[str, Any]) -> None:
    """Raises: InvalidInputError for a line that somebody has damaged."""
    missing = [name for name in _FIELDS if not isinstance(record.get(name), str)]
    label = str(record.get("version"))
    if missing or label[:1] != "v" or not (label[1:].isascii() and label[1:].isdigit()):
        raise InvalidInputError(f"{home.records('versions')} has a line without {', '.join(missing) or 'a version'}.")
