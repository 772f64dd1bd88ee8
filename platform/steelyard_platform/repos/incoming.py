"""The body of a commit, read line by line: JSON records, small files inside, large ones by their digests.

    with Pack() as pack:
        incoming = read_commit(request, pack)
        accept_large(repository, incoming, team)
        pack.store(repository.team)

The Hub's clients send it; so does an import, with another head.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest

from steelyard_contracts.digests import is_sha256
from steelyard_contracts.errors import BlobMissingError, InvalidInputError, TooLargeError
from steelyard_platform.accounts.models import Team
from steelyard_platform.repos import commits
from steelyard_platform.repos.blobs import Pack, accept_registered, accept_staged, held_blobs, note_holder
from steelyard_platform.repos.models import Repository
from steelyard_platform.storage.receiving import body_stream, lines_of

_MAX_LINE = 16 * 1024 * 1024
_MAX_OPERATIONS = 100_000


@dataclass
class Incoming:
    """A commit's body: its head, and operations in the order they came."""

    header: dict[str, Any] = field(default_factory=dict)
    operations: list[commits.Operation] = field(default_factory=list)
    lfs: dict[str, int | None] = field(default_factory=dict)  # sha256 -> announced size


def read_commit(request: HttpRequest, pack: Pack, *, most: int = _MAX_OPERATIONS) -> Incoming:
    """Raises: InvalidInputError, TooLargeError for more than `most` operations."""
    incoming = Incoming()
    for record in _records(request):
        key, value = record.get("key"), record.get("value")
        if not isinstance(value, dict):
            raise InvalidInputError("Each line of a commit is {'key': ..., 'value': {...}}.")
        match key:
            case "header":
                incoming.header = value
            case "file":
                sha256 = pack.add(_content(value))
                incoming.operations.append(commits.AddFile(_path(value), sha256, is_lfs=False))
            case "lfsFile":
                incoming.operations.append(_large(value, incoming))
            case "deletedFile":
                incoming.operations.append(commits.DeleteFile(_path(value)))
            case "deletedFolder":
                incoming.operations.append(commits.DeleteFolder(_path(value)))
            case _:
                raise InvalidInputError(f"A commit has no operation {key!r}.", key=key)
        if len(incoming.operations) > most:
            raise TooLargeError(f"A commit takes at most {most} operations; send several.")
    return incoming


def accept_large(repository: Repository, incoming: Incoming, sender: Team) -> None:
    """What came by chunks becomes a blob. Clients that skip `verify` are served too: what is staged is checked now.

    What `sender` has not sent does not count, though the repository's team may hold it: naming a digest opens nothing.
    """
    is_own = sender.pk == repository.team_id
    held = held_blobs(sender, incoming.lfs)
    for sha256, size in incoming.lfs.items():
        if sha256 in held or accept_registered(sender, sha256=sha256, size=size) is not None:
            continue
        if size is None or not is_own:
            raise BlobMissingError(f"No file with the SHA-256 {sha256} was uploaded; upload it, then commit.")
        accept_staged(repository, sha256=sha256, size=size)
    if not is_own:
        note_holder(repository.team, incoming.lfs)


def _records(request: HttpRequest) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines_of(body_stream(request), longest=_MAX_LINE), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InvalidInputError(f"Line {number} of the commit is not JSON.", line=number) from error
        if not isinstance(record, dict):
            raise InvalidInputError(f"Line {number} of the commit is not a JSON object.", line=number)
        yield record


def _content(value: dict[str, Any]) -> bytes:
    content = value.get("content")
    if not isinstance(content, str):
        raise InvalidInputError(f"The file {value.get('path')!r} has no content.")
    if value.get("encoding") != "base64":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"The content of {value.get('path')!r} is not base64.") from error


def _large(value: dict[str, Any], incoming: Incoming) -> commits.AddFile:
    sha256 = str(value.get("oid"))
    if not is_sha256(sha256):
        raise InvalidInputError(f"The oid of {value.get('path')!r} is not a SHA-256.", oid=sha256)
    size = value.get("size")
    if size is not None and not isinstance(size, int):
        raise InvalidInputError(f"The size of {value.get('path')!r} is not a number.", size=size)
    incoming.lfs[sha256] = size
    return commits.AddFile(_path(value), sha256, is_lfs=True)


def _path(value: dict[str, Any]) -> str:
    path = value.get("path")
    if not isinstance(path, str):
        raise InvalidInputError("An operation of the commit names no path.")
    return path
