"""Streams that are packed as a whole, unpacked block by block: never more in memory than a block."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import IO, Protocol

import lz4.frame

from steelyard_workers.scanning.content import Content

_PACKED, _UNPACKED = 64 * 1024, 1024 * 1024
_GZIP_WINDOW = 31
_LZMA_MEMORY = 512 * 1024 * 1024


class BrokenStreamError(Exception):
    """It ends early, or is damaged, or is no such stream at all."""


class _Decompressor(Protocol):
    """As `bz2`, `lzma` and `lz4` have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Zlib:
    """`zlib`'s own, with the words of the others."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def unpacked(stream: IO[bytes], content: Content) -> Iterator[bytes]:
    """The blocks of one stream after the other, as they are written behind each other. Raises: BrokenStreamError."""
    data = stream.read(_PACKED)
    while data:
        decompressor = _decompressor(content)
        try:
            while not decompressor.eof:
                block = decompressor.decompress(data, _UNPACKED)
                if block:
                    yield block
                data = b""
                if not decompressor.eof and decompressor.needs_input and len(block) < _UNPACKED:
                    data = stream.read(_PACKED)
                    if not data:
                        raise BrokenStreamError("it ends early")
        except (OSError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError) as error:
            raise BrokenStreamError("it is damaged") from error
        data = (decompressor.unused_data or b"") or stream.read(_PACKED)
        if data and not data.strip(b"\0"):
            return  # padding


def _decompressor(content: Content) -> _Decompressor:
    match content:
        case Content.GZIP:
            return _Zlib(_GZIP_WINDOW)
        case Content.ZLIB:
            return _Zlib(zlib.MAX_WBITS)
        case Content.BZIP2:
            return bz2.BZ2Decompressor()
        case Content.XZ:
            return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
        case Content.LZ4:
            lz4_decompressor: _Decompressor = lz4.frame.LZ4FrameDecompressor()
            return lz4_decompressor
        case _:
            raise AssertionError(content)
