"""One version into a repository, with the number, author and date that it had; only what changed is sent."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steelyard.client import Client
from steelyard.commits import Large, sort_files
from steelyard.handover.contents import sha256_of_file
from steelyard.handover.source import File, SourceVersion
from steelyard_contracts.errors import DigestMismatchError, InvalidInputError
from steelyard_contracts.handover import FileRecord, ImportedVersion, VersionRecord
from steelyard_contracts.names import check_file_path
from steelyard_contracts.refs import Ref


def send_version(client: Client, ref: Ref, version: SourceVersion, record: VersionRecord) -> ImportedVersion:
    """Makes the version what the source has; `record.follows` says what is there now.

    Raises: DigestMismatchError for a file that is not what the source says; the server's errors.
    """
    there = _files_at(client, ref, record.follows)
    tree = version.tree()
    for path in tree:
        check_file_path(path)
    deleted = [path for path in there if path not in tree]
    with tempfile.TemporaryDirectory(prefix="steelyard-import-") as scratch:
        added = dict(_changed(tree, there, Path(scratch)))
        return _send(client, ref.at(record.branch), record, added, deleted)


def imports(ref: Ref, what: str) -> str:
    """Where the server takes what is imported into the repository."""
    return f"/api/v1/imports/{ref.kind.plural}/{ref.repository}/{what}"


def _files_at(client: Client, ref: Ref, number: int | None) -> dict[str, str]:
    """SHA-256 by path."""
    if number is None:
        return {}
    address = f"/api/v1/{ref.kind.plural}/{ref.repository}/versions/v{number}/files"
    files = (FileRecord.model_validate(item) for item in client.transport.items(address, limit=1000))
    return {one.path: one.sha256 for one in files}


def _changed(tree: Mapping[str, File], there: Mapping[str, str], scratch: Path) -> Iterator[tuple[str, Path]]:
    """What is not there as the source has it; each file is read, and held against its digest if it has one."""
    for path, file in tree.items():
        if file.sha256 and there.get(path) == file.sha256:
            continue
        place = file.fetch(scratch)
        try:
            found = sha256_of_file(place)
        except FileNotFoundError as error:
            raise InvalidInputError(f"{place} is missing.", path=str(place)) from error
        if file.sha256 and found != file.sha256:
            raise DigestMismatchError(
                f"{place} has the SHA-256 {found}, not {file.sha256}: it was changed or damaged since.", path=str(place)
            )
        if there.get(path) != found:
            yield path, place


def _send(
    client: Client, ref: Ref, record: VersionRecord, added: Mapping[str, Path], deleted: list[str]
) -> ImportedVersion:
    large, small = sort_files(client.transport, ref, added, ignore="")
    sent = client.files.send_large(ref, {path: added[path] for path in large})
    inside = {path: added[path] for path in small}
    answer = client.transport.send_lines(
        imports(ref, "versions"),
        lambda: (json.dumps(one).encode() + b"\n" for one in _records(record, inside, sent, deleted)),
    )
    return ImportedVersion.model_validate(answer)


def _records(
    record: VersionRecord, small: Mapping[str, Path], large: Mapping[str, Large], deleted: list[str]
) -> Iterator[dict[str, Any]]:
    yield {"key": "header", "value": record.model_dump(mode="json")}
    for path in deleted:
        yield {"key": "deletedFile", "value": {"path": path}}
    for path, file in small.items():
        content = base64.b64encode(file.read_bytes()).decode()
        yield {"key": "file", "value": {"path": path, "encoding": "base64", "content": content}}
    for path, one in large.items():
        yield {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": one.sha256, "size": one.size}}
