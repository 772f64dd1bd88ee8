"""A commit over the Hub's HTTP API: which way each file should come, then all of them in one request."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from steelyard.hub_addresses import at_revision
from steelyard.transport import Transport
from steelyard_contracts.refs import Ref

_ASKED_AT_ONCE = 1000
_SAMPLE = 512


@dataclass(frozen=True, slots=True)
class Large:
    """A large file that the server has: its SHA-256 and size in bytes."""

    sha256: str
    size: int


def sort_files(
    transport: Transport, ref: Ref, files: Mapping[str, Path], *, ignore: str | None = None
) -> tuple[list[str], list[str]]:
    """(those that are sent before the commit, those that travel inside it), by their paths.

    What the repository's own .gitignore names is neither; or what `ignore` names, in its place.
    """
    large: list[str] = []
    small: list[str] = []
    waiting = iter(files.items())
    while batch := list(islice(waiting, _ASKED_AT_ONCE)):
        asked = [{"path": path, "size": file.stat().st_size, "sample": _sample(file)} for path, file in batch]
        body = {"files": asked} if ignore is None else {"files": asked, "gitIgnore": ignore}
        answer = transport.call("POST", at_revision(ref, "preupload"), body=body)
        for one in answer["files"]:
            if not one.get("shouldIgnore"):
                (large if one["uploadMode"] == "lfs" else small).append(one["path"])
    return large, small


def commit(
    transport: Transport, ref: Ref, *, message: str, small: Mapping[str, Path], large: Mapping[str, Large]
) -> str:
    """One version with all of these, or none; returns its id. A repeated one changes nothing, so it may be repeated.

    Raises: the server's errors.
    """
    answer = transport.send_lines(
        at_revision(ref, "commit"), lambda: (_line(one) for one in _records(message, small, large))
    )
    return str(answer["commitOid"])


def _records(message: str, small: Mapping[str, Path], large: Mapping[str, Large]) -> Iterator[dict[str, Any]]:
    yield {"key": "header", "value": {"summary": message, "description": ""}}
    for path, file in small.items():
        content = base64.b64encode(file.read_bytes()).decode()
        yield {"key": "file", "value": {"path": path, "encoding": "base64", "content": content}}
    for path, one in large.items():
        yield {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": one.sha256, "size": one.size}}


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _sample(file: Path) -> str:
    with file.open("rb") as opened:
        return base64.b64encode(opened.read(_SAMPLE)).decode()
