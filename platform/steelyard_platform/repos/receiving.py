"""Files of which nobody said the digest before: it is computed while they come, or once they are put together.

receive(repository, body_stream(request))       small ones become a pack of one, larger ones an object of their own
begin_parts(repository), finish_parts(…)        what comes in parts, to signed addresses
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator

from steelyard_contracts.errors import BlobMissingError
from steelyard_platform.repos.blobs import Pack, held_blobs, keep_staged, staging_key
from steelyard_platform.repos.models import Blob, Repository
from steelyard_platform.storage.objects import ObjectMissingError, Part
from steelyard_platform.storage.services import object_store

# Up to here a file is held in memory, and packed.
SMALL_BYTES = 1024 * 1024


def receive(repository: Repository, chunks: Iterator[bytes]) -> Blob:
    """The stream's content as a blob that the repository's team holds. Raises: what the stream raises."""
    head = bytearray()
    for chunk in chunks:
        head += chunk
        if len(head) > SMALL_BYTES:
            return _receive_large(repository, bytes(head), chunks)
    with Pack() as pack:
        sha256 = pack.add(bytes(head))
        pack.store(repository.team)
    return _held(repository, sha256)


def _receive_large(repository: Repository, head: bytes, rest: Iterator[bytes]) -> Blob:
    digest, key = hashlib.sha256(), _new_key(repository)

    def hashed() -> Iterator[bytes]:
        for chunk in _joined(head, rest):
            digest.update(chunk)
            yield chunk

    staged = object_store().put(key, hashed())
    return keep_staged(repository.team, staged, sha256=digest.hexdigest())


def begin_parts(repository: Repository) -> tuple[str, str]:
    """Begins an upload in parts; returns the key of what they will make, and the upload's id."""
    key = _new_key(repository)
    return key, object_store().start_parts(key)


def finish_parts(repository: Repository, *, key: str, upload: str, parts: list[Part]) -> Blob:
    """Puts the parts together and hashes the whole. Raises: InvalidInputError, BlobMissingError."""
    store, digest = object_store(), hashlib.sha256()
    try:
        staged = store.finish_parts(key, upload, parts)
        for chunk in store.read(key):
            digest.update(chunk)
        return keep_staged(repository.team, staged, sha256=digest.hexdigest())
    except ObjectMissingError as error:
        raise BlobMissingError("This upload has ended already; send the file again.") from error


def _joined(head: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


def _new_key(repository: Repository) -> str:
    return staging_key(repository, f"stream-{secrets.token_hex(16)}")


def _held(repository: Repository, sha256: str) -> Blob:
    return held_blobs(repository.team, [sha256])[sha256]
