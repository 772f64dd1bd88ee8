"""Many small files of a version at once: neighbours in a pack are read together.

A dataset may have a text for each of 100,000 pictures; one request to the object store for each would take minutes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from steelyard_contracts.errors import TooLargeError
from steelyard_platform.repos.blobs import read_blob
from steelyard_platform.repos.models import Blob, Entry
from steelyard_platform.storage.services import object_store

# Bytes between two files that are read along rather than asked for anew; and the most that is read at once.
_GAP = 64 * 1024
_RUN = 8 * 1024 * 1024


def read_many(entries: Iterable[Entry], *, limit: int) -> Iterator[tuple[str, bytes]]:
    """(path, content) of each, in the order they are stored in.

    Raises: TooLargeError, naming a file of more than `limit` bytes.
    """
    packed: dict[str, list[tuple[str, Blob]]] = defaultdict(list)
    for entry in entries:
        if (blob := entry.blob) is None:
            continue
        if blob.size > limit:
            raise TooLargeError(f"{entry.path} has {blob.size} bytes; at most {limit} can be read.", path=entry.path)
        if blob.xet is None:
            packed[blob.object_key].append((entry.path, blob))
        else:
            yield entry.path, b"".join(read_blob(blob))
    for key, files in packed.items():
        for run in _runs(sorted(files, key=lambda file: file[1].offset)):
            yield from _read_run(key, run)


def _runs(files: list[tuple[str, Blob]]) -> Iterator[list[tuple[str, Blob]]]:
    """Cut where the gap to the next file, or what has gathered, is large."""
    run: list[tuple[str, Blob]] = []
    end = 0
    for path, blob in files:
        if run and (blob.offset > end + _GAP or blob.offset + blob.size > run[0][1].offset + _RUN):
            yield run
            run = []
        run.append((path, blob))
        end = max(end, blob.offset + blob.size)
    if run:
        yield run


def _read_run(key: str, run: list[tuple[str, Blob]]) -> Iterator[tuple[str, bytes]]:
    start = run[0][1].offset
    end = max(blob.offset + blob.size for _, blob in run)
    data = b"".join(object_store().read(key, start, end)) if end > start else b""
    for path, blob in run:
        yield path, data[blob.offset - start : blob.offset - start + blob.size]
