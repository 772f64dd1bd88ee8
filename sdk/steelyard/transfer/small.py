"""Fetching small files: whole, several at once, each checked against its digest before it takes its place."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from steelyard.transport import Transport
from steelyard_contracts.digests import git_blob_id, sha256_of
from steelyard_contracts.errors import DigestMismatchError


@dataclass(frozen=True, slots=True)
class SmallFile:
    """What is fetched from `address` to `target`. `sha256` is empty for a file that only git's id names."""

    address: str
    target: Path
    git_id: str
    sha256: str

    def is_named(self, content: bytes) -> bool:
        return sha256_of(content) == self.sha256 if self.sha256 else git_blob_id(content) == self.git_id


def fetch_small(transport: Transport, files: Iterable[SmallFile], *, at_once: int) -> None:
    """Raises: DigestMismatchError, and the server's errors. What came before stays."""
    with ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(lambda one: _fetch(transport, one), files):
            pass


def _fetch(transport: Transport, one: SmallFile) -> None:
    target = one.target
    if target.is_file() and one.is_named(target.read_bytes()):
        return

    def once() -> bytes:
        with transport.stream(one.address) as (_, blocks):
            return b"".join(blocks)

    content = transport.repeat(once)
    if not one.is_named(content):
        raise DigestMismatchError(f"{target.name} was damaged on its way; pull again.", path=str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    part.write_bytes(content)
    part.replace(target)
