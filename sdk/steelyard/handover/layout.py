"""The folder that an export writes: which file is where, and how each is written. Its own README says the same.

FOLDER/steelyard.json                          what this folder is
FOLDER/models/team/name/repository.json        and versions.jsonl, branches.jsonl, tags.jsonl, aliases.jsonl, …
FOLDER/models/team/name/versions/v3/…          the files of v3
FOLDER/models/team/name/versions/v3.sha256     their digests; written last, so that a version with it is whole
FOLDER/models/team/name/runs/exp1/             run.json, metrics.csv, console.log
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from steelyard_contracts.digests import SHA256
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.names import check_file_path
from steelyard_contracts.refs import Ref, RepositoryKind

MARK = "steelyard.json"
FORMAT = {"format": "steelyard-export", "edition": 1}
WORK = ".steelyard"  # while an export is under way
_DATES = ("at", "created_at")
_COLUMNS = 66  # of a line of digests before the path: 64 of the digest, and two spaces


class Home:
    """Where a repository lies in an export."""

    def __init__(self, folder: Path, ref: Ref) -> None:
        self.ref, self.root = ref, folder
        self.folder = folder / ref.kind.plural / ref.namespace / ref.name

    def tree(self, label: str) -> Path:
        return self.folder / "versions" / label

    def digests(self, label: str) -> Path:
        return self.folder / "versions" / f"{label}.sha256"

    def records(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    @property
    def card(self) -> Path:
        return self.folder / "CARD.md"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"


def is_export(folder: Path) -> bool:
    """Raises: InvalidInputError for an export of a later edition."""
    try:
        said = json.loads((folder / MARK).read_text())
    except (OSError, ValueError):
        return False
    if not isinstance(said, dict) or said.get("format") != FORMAT["format"]:
        return False
    if said.get("edition") != FORMAT["edition"]:
        raise InvalidInputError(
            f"{folder} is an export of the edition {said.get('edition')}; this program reads {FORMAT['edition']}. "
            "Install a newer one."
        )
    return True


def prepare(folder: Path) -> None:
    """Makes the folder, or takes one that an export has begun. Raises: InvalidInputError for one with anything else."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_export(folder):
        return
    if any(folder.iterdir()):
        raise InvalidInputError(f"{folder} holds something else; name an empty folder, or one that an export wrote.")
    write_json(folder / MARK, FORMAT)


def homes(folder: Path) -> Iterator[Home]:
    """Every repository of an export: datasets first, because models are made of them."""
    for kind in (RepositoryKind.DATASET, RepositoryKind.MODEL):
        for found in sorted((folder / kind.plural).glob("*/*/repository.json")):
            yield Home(folder, Ref(kind, found.parent.parent.name, found.parent.name))


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A text file that takes its place whole, once all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_json(path: Path, record: Any) -> None:
    with written(path) as file:
        file.write(json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """A JSON object on each line; dates to the millisecond, as the API shows them."""
    with written(path) as file:
        for record in records:
            dates = {key: in_milliseconds(record[key]) for key in _DATES if isinstance(record.get(key), str)}
            file.write(json.dumps({**record, **dates}, sort_keys=True, ensure_ascii=False) + "\n")


def in_milliseconds(text: str) -> str:
    """The same moment with three digits: a whole second is sent with them or without, as it was stored.

    >>> in_milliseconds("2026-11-29T00:41:53Z")
    '2026-11-29T00:41:53.000Z'
    """
    at = datetime.fromisoformat(text).astimezone(UTC)
    return f"{at.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def read_json(path: Path) -> Any:
    """Raises: InvalidInputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read ({error}).") from error


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Of a file that need not be there. Raises: InvalidInputError, which names the line."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InvalidInputError(f"{path}, line {number}, is no JSON.") from error
            if not isinstance(record, dict):
                raise InvalidInputError(f"{path}, line {number}, is no JSON object.")
            yield record


def digest_line(sha256: str, path: str) -> str:
    """As `sha256sum` writes and checks it."""
    return f"{sha256}  {path}\n"


def read_digests(path: Path) -> Iterator[tuple[str, str]]:
    """(path, SHA-256) of a version's files. Raises: InvalidInputError, which names the line."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            sha256, name = line[: _COLUMNS - 2], line[_COLUMNS:].rstrip("\n")
            if not SHA256.fullmatch(sha256) or not name:
                raise InvalidInputError(f"{path}, line {number}, is no digest and path.")
            yield check_file_path(name), sha256
