"""What a format's reader hands on: the tensors of a file, where their bytes lie, and what is wrong with it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from steelyard_contracts.weights import FileFormat, Finding, Severity

# Small enough for what is computed from a block to stay in the processor's cache.
BLOCK = 512 * 1024
_WINDOW = 64 * 1024


class UnreadableError(Exception):
    """The file is not what it claims to be. `code` names the finding, the text is its sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code

    @property
    def finding(self) -> Finding:
        return warning(self.code, str(self))


def warning(code: str, sentence: str, tensor: str | None = None) -> Finding:
    return Finding(severity=Severity.WARNING, code=code, sentence=sentence[:1000], tensor=tensor)


def danger(code: str, sentence: str, tensor: str | None = None) -> Finding:
    return Finding(severity=Severity.DANGER, code=code, sentence=sentence[:1000], tensor=tensor)


class Source:
    """A file that is read by range. What lies beyond its end is an UnreadableError, never a short answer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file.fileno()
        self.size = os.fstat(self._file).st_size
        self._window = b""
        self._window_start = 0

    def read(self, start: int, end: int) -> bytes:
        """Bytes `start` to `end - 1`. Raises: UnreadableError."""
        if min(start, end - start, self.size - end) < 0:
            raise UnreadableError(
                "truncated",
                f"The file names bytes {start:,} to {end:,} but has {self.size:,}: it is cut off, or its header is "
                "wrong. Push it again.",
            )
        offset = start - self._window_start
        if offset >= 0 and end - self._window_start <= len(self._window):
            return self._window[offset : offset + end - start]
        if end - start >= _WINDOW:
            return self._all(start, end)
        # Headers are read in many small pieces that follow each other.
        self._window, self._window_start = self._all(start, min(start + _WINDOW, self.size)), start
        return self._window[: end - start]

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        """The same in blocks of at most `BLOCK` bytes, of which all but the last are of that size."""
        for position in range(start, end, BLOCK):
            yield self.read(position, min(position + BLOCK, end))

    def _all(self, start: int, end: int) -> bytes:
        parts: list[bytes] = []
        while start < end:
            part = os.pread(self._file, end - start, start)
            if not part:
                raise UnreadableError("truncated", "The file became shorter while it was read.")
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor and its bytes: `size` of them from `start` of the file on, or `inline`, or nowhere that can be read."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    start: int | None = None
    inline: bytes | None = None

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)


@dataclass(slots=True)
class Contents:
    format: FileFormat
    framework: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
