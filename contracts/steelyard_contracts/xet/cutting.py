"""Where a file is cut into chunks by what it holds: weights at their tensors.

A tensor that did not change is found again wherever it lies, in whichever of these formats:

    safetensors    header · tensors
    zip (`.pt`)    local header · stored entry · local header ...

Each part is cut every 128 KiB from its own start; a run of tiny parts shares a chunk. The cut is a pure function of the
bytes. It decides only what is found again, never what a file is: any cut of a file is a valid one, to every client.

Sources: safetensors' format page; APPNOTE.TXT of the zip format, sections 4.3.7 and 4.4.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from steelyard_contracts.xet.xorbs import MAX_CHUNK

# Whoever changes where files are cut raises this: what was stored before is then not found again by what comes after.
VERSION = 1

Read = Callable[[int, int], bytes | memoryview]
"""Bytes `start` to `end - 1` of the file."""

_TINY = 16 * 1024
_LONGEST_HEADER = 100_000_000  # safetensors' own limit
_LENGTH = 8
_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = 30
_MOST_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Cut:
    """Where each chunk ends, ascending, the last at the file's end; and which chunks begin a part, by their index."""

    ends: tuple[int, ...]
    heads: tuple[int, ...]

    def spans(self) -> Iterator[tuple[int, int]]:
        """(start, end) of each chunk."""
        start = 0
        for end in self.ends:
            yield start, end
            start = end


def cut_weights(read: Read, size: int) -> Cut | None:
    """None for a file that is neither safetensors nor a zip with entries that are not compressed.

    A file that only looks like one of them is cut somewhere, or not at all: nothing here trusts its header.
    """
    head = bytes(read(0, min(size, _LENGTH + 1)))
    bounds: Iterable[int] | None = None
    if head.startswith(_ZIP):
        bounds = _entries(read, size)
    elif head[_LENGTH:] == b"{":
        bounds = _tensors(read, size, int.from_bytes(head[:_LENGTH], "little"))
    return None if bounds is None else _cut(bounds, size)


def cut_evenly(size: int) -> Cut:
    """The same for a file of which nothing is known."""
    return _cut((), size)


def _tensors(read: Read, size: int, length: int) -> list[int] | None:
    data = _LENGTH + length
    if length > _LONGEST_HEADER or data > size:
        return None
    try:
        header = json.loads(bytes(read(_LENGTH, data)))
    except (ValueError, RecursionError):
        return None
    bounds = [data]
    for name, tensor in header.items():
        offsets = tensor.get("data_offsets") if name != "__metadata__" and isinstance(tensor, dict) else None
        if isinstance(offsets, list):
            bounds += [data + offset for offset in offsets if isinstance(offset, int)]
    return bounds


def _entries(read: Read, size: int) -> list[int] | None:
    try:
        with zipfile.ZipFile(io.BufferedReader(_Seekable(read, size))) as archive:
            stored = [info for info in archive.infolist()[:_MOST_ENTRIES] if info.compress_type == zipfile.ZIP_STORED]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return None
    bounds: list[int] = []
    for info in stored:
        header = bytes(read(info.header_offset, min(info.header_offset + _LOCAL_HEADER, size)))
        if header.startswith(_ZIP) and len(header) == _LOCAL_HEADER:
            start = (
                info.header_offset
                + _LOCAL_HEADER
                + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
            )
            bounds += [start, start + info.file_size]
    return bounds or None


def _cut(bounds: Iterable[int], size: int) -> Cut:
    """Cuts each part every 128 KiB; `opened` is where a run of tiny parts began."""
    ends: list[int] = []
    heads: list[int] = []
    opened = 0
    for start, end in pairwise(sorted({0, size, *(bound for bound in bounds if 0 < bound < size)})):
        tiny = end - start < _TINY
        if opened < start and (not tiny or end - opened > MAX_CHUNK):
            ends.append(start)
            opened = start
        if not tiny:
            heads.append(len(ends))
            ends += [*range(start + MAX_CHUNK, end, MAX_CHUNK), end]
            opened = end
    if opened < size:
        ends.append(size)
    return Cut(tuple(ends), tuple(heads))


class _Seekable(io.RawIOBase):
    """What `zipfile` wants of a file."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        start = min(self._position, self._size)
        data = self._read(start, min(start + len(buffer), self._size))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
