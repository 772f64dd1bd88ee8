"""Bodies of the Hub's API, written by hand."""

from __future__ import annotations

import base64
import json
from typing import Any

Record = tuple[str, dict[str, Any]]


def ndjson(*operations: Record, parent: str | None = None) -> bytes:
    header = {"summary": "a commit", "description": "", **({"parentCommit": parent} if parent else {})}
    records = [{"key": "header", "value": header}, *({"key": key, "value": value} for key, value in operations)]
    return "\n".join(map(json.dumps, records)).encode()


def regular(path: str, data: bytes = b"x") -> Record:
    return ("file", {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"})


def large(path: str, sha256: str, size: int = 1) -> Record:
    return ("lfsFile", {"path": path, "algo": "sha256", "oid": sha256, "size": size})
