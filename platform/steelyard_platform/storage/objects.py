"""The object store's protocol, which `FolderObjectStore` and `S3ObjectStore` keep alike.

    store.put("blobs/ab/abcd", [b"..."])      whole, or not at all
    store.read("blobs/ab/abcd", 10, 20)       bytes 10 to 19, as a stream
    store.signed_put("staging/x", 3600)       an address that takes the bytes without any other credential

An object is visible only when it is complete. Reading a missing one raises `ObjectMissingError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from steelyard_contracts.errors import InvalidInputError, NotFoundError

CHUNK = 1024 * 1024
_KEY = re.compile(r"(?!.*(?:^|/)\.)[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")


class ObjectMissingError(NotFoundError):
    code = "object_missing"


class ObjectExistsError(InvalidInputError):
    code = "object_exists"
    status = 412


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """`etag` changes whenever the content may have; it says nothing about the content itself."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Part:
    number: int  # from 1
    etag: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a write that broke off has left. It is no object, and takes room all the same."""

    key: str
    upload: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class SignedRanges:
    """One address and the spans it serves: asked for one by one, or, where the store can do that, together."""

    address: str
    spans: list[tuple[int, int]]


class ObjectStore(Protocol):
    """Raises, from every method: UnavailableError when the store cannot be reached."""

    def put(self, key: str, chunks: Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """Stores all chunks or nothing. Raises: ObjectExistsError with `if_absent`."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes `start` to `end - 1`. Raises: ObjectMissingError, before the first chunk."""
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Raises: ObjectMissingError."""
        ...

    def delete(self, key: str) -> None:
        """Deleting what is not there is fine."""
        ...

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix`, sorted by key."""
        ...

    def copy(self, source: str, target: str, *, if_etag: str) -> None:
        """Raises: ObjectMissingError, or ObjectExistsError when the source is no longer what `if_etag` saw."""
        ...

    def move(self, source: str, target: str, *, if_etag: str) -> None:
        """Raises: as `copy`."""
        ...

    def start_parts(self, key: str) -> str:
        """Begins an upload in parts; returns its id."""
        ...

    def finish_parts(self, key: str, upload: str, parts: list[Part]) -> ObjectInfo:
        """Puts the parts together. Raises: InvalidInputError when one is missing or not what was sent."""
        ...

    def abort_parts(self, key: str, upload: str) -> None: ...

    def fragments(self) -> Iterator[Fragment]:
        """Uploads in parts that were never finished, and whatever else a process leaves that was killed."""
        ...

    def drop_fragment(self, fragment: Fragment) -> None: ...

    def signed_get(self, key: str, seconds: int, *, filename: str, content_type: str) -> str | None:
        """An address that serves the object with Range; None when the web process serves it itself."""
        ...

    def signed_ranges(self, key: str, seconds: int, spans: list[tuple[int, int]]) -> list[SignedRanges]:
        """Addresses that serve these bytes (end exclusive) of the object, and no others of it."""
        ...

    def signed_put(self, key: str, seconds: int) -> str: ...

    def signed_part(self, key: str, upload: str, number: int, seconds: int) -> str: ...


def check_key(key: str) -> str:
    """Keys are ours; a strange one is a bug that must not reach a disk. Raises: InvalidInputError."""
    if not _KEY.fullmatch(key):
        raise InvalidInputError(f"{key!r} cannot name an object.")
    return key
