"""Zips by their directory: what they are, and where a stored entry's bytes lie. Nothing is unpacked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from steelyard_workers.inspection.contents import Source, UnreadableError

_LOCAL_HEADER = 30
_LOCAL = b"PK\x03\x04"
# About 200,000 entries.
_LONGEST_DIRECTORY = 16_000_000
_END, _LARGE_END = b"PK\x05\x06", b"PK\x06\x06"
_ALL_ONES = 0xFFFFFFFF
_LONGEST_END = 65_557


@contextmanager
def opened(source: Source) -> Iterator[zipfile.ZipFile]:
    """Raises: UnreadableError when its directory is broken, or too long to be honest."""
    _check_directory(source)
    try:
        archive = zipfile.ZipFile(io.BufferedReader(_Seekable(source)))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        raise UnreadableError(
            "archive-broken", f"The file begins like a zip, but its directory cannot be read ({error}). Save it again."
        ) from error
    with archive:
        yield archive


def _check_directory(source: Source) -> None:
    tail = source.read(max(0, source.size - _LONGEST_END), source.size)
    at, large = tail.rfind(_END), tail.rfind(_LARGE_END)
    if at < 0:
        raise UnreadableError(
            "truncated", "The file begins like a zip but has no directory: it is cut off. Push it again."
        )
    # Large archives say it in a record of their own, and all ones in the plain one.
    lengths = [int.from_bytes(tail[at + 12 : at + 16], "little") % _ALL_ONES]
    if large >= 0:
        lengths.append(int.from_bytes(tail[large + 40 : large + 48], "little"))
    if max(lengths) > _LONGEST_DIRECTORY:
        raise UnreadableError(
            "archive-too-long", f"The zip's directory is {max(lengths):,} bytes long; it is not read."
        )


def stored_at(source: Source, info: zipfile.ZipInfo) -> tuple[int, int] | None:
    """(start, size) of an entry that is stored as it is; None for any other."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        return None
    header = source.read(info.header_offset, info.header_offset + _LOCAL_HEADER)
    if not header.startswith(_LOCAL):
        return None
    lengths = sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    start = info.header_offset + _LOCAL_HEADER + lengths
    return (start, info.file_size) if start + info.file_size <= source.size else None


class _Seekable(io.RawIOBase):
    """What `zipfile` wants of a file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        start = min(self._position, self._source.size)
        data = self._source.read(start, min(start + len(buffer), self._source.size))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
