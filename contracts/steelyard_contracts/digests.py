"""Digests: how bytes and records are named.

Files are named by SHA-256, as the Hub's clients do. Small regular files also carry git's own blob id, because
those clients compare it before they upload. Records (a version, a release) are named by the digest of their
canonical JSON, so that anybody can recompute it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from steelyard_contracts.errors import DigestMismatchError

SHA256 = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    return SHA256.fullmatch(text) is not None


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob_id(data: bytes) -> str:
    r"""Git's object id of a blob with this content: SHA-1 of `blob <size>\0<content>`."""
    digest = git_blob_hasher(len(data))
    digest.update(data)
    return digest.hexdigest()


def git_blob_hasher(size: int) -> hashlib._Hash:
    """The same for a stream of `size` bytes: update with all of it, then ask."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def lfs_pointer_id(sha256: str, size: int) -> str:
    """Git's object id of the LFS pointer file that stands for a large file (Git LFS specification v1)."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return git_blob_id(pointer.encode())


def canonical_json(record: Any) -> bytes:
    """The same record always gives the same bytes: sorted keys, no spaces, UTF-8."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def record_id(record: Any) -> str:
    """40 hexadecimal digits that name a record: SHA-256 of its canonical JSON, shortened to a commit id's length."""
    return sha256_of(canonical_json(record))[:40]


def checked(chunks: Iterable[bytes], *, sha256: str, size: int, what: str) -> Iterator[bytes]:
    """Passes chunks through, hashing; stops at the declared length.

    Raises:
        DigestMismatchError: more or fewer bytes than `size`, or other bytes than `sha256` names. Raised before
            the last chunk's consumer can take the end of the stream for success.
    """
    digest, seen = hashlib.sha256(), 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > size:
            raise DigestMismatchError(f"{what} is longer than the {size} bytes that were announced.", expected=size)
        digest.update(chunk)
        yield chunk
    if seen != size:
        raise DigestMismatchError(
            f"{what} ended after {seen} of {size} bytes; send it again.", expected=size, found=seen
        )
    if digest.hexdigest() != sha256:
        raise DigestMismatchError(
            f"{what} has the SHA-256 {digest.hexdigest()}, not {sha256} as announced; send it again.",
            expected=sha256,
            found=digest.hexdigest(),
        )
