"""A file and everything inside it.

A `Walk` carries what is common to all of it: the report, the limits and what is left of them. A file that is an archive
is opened, and each thing in it looked at in the same way; what has to be unpacked for that goes to a scratch folder.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from steelyard_contracts.weights import Finding, Severity
from steelyard_workers.scanning import archives, arrays, compressed, headers, keras
from steelyard_workers.scanning.content import HEAD_BYTES, WEAK, Content, content_of
from steelyard_workers.scanning.limits import DEFAULT, Limits
from steelyard_workers.scanning.opcodes import Budget
from steelyard_workers.scanning.pickles import scan_pickles
from steelyard_workers.scanning.report import Report, TooMuchError, shown

_BLOCK = 1024 * 1024
_WHOLE_FILE = "the file"


@dataclass(slots=True)
class Walk:
    """One file's scan: `findings = Walk(scratch).file(path)`."""

    scratch: Path
    limits: Limits = DEFAULT
    report: Report = field(init=False)
    budget: Budget = field(init=False)
    entries: int = 0
    unpacked: int = 0

    def __post_init__(self) -> None:
        self.report = Report(self.limits.findings)
        self.budget = Budget(self.limits)

    def file(self, path: Path) -> list[Finding]:
        """Everything that is wrong with the file."""
        try:
            with warnings.catch_warnings(), path.open("rb") as file:
                # Texts in pickles have escapes that Python is about to forget; nobody here could mend them.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._whole(file, path.stat().st_size, _WHOLE_FILE, depth=0)
        except TooMuchError as error:
            self.report.findings.append(_too_much(error))
        return self.report.findings

    def _whole(self, file: BinaryIO, size: int, where: str, *, depth: int) -> None:
        """A file on disk: it can be read from any place."""
        file.seek(0)
        content = content_of(file.read(HEAD_BYTES))
        file.seek(0)
        # Whatever it is: an unpickler looks for no magic, and runs what stands at the beginning.
        scan_pickles(io.BufferedReader(_Raw(file)), where, self.report, self.budget, is_meant=True)
        match content:
            case Content.TAR:
                self._deeper(depth, where)
                archives.scan_tar(self, file, where, depth=depth)
            case Content.GZIP | Content.BZIP2 | Content.XZ | Content.LZ4 | Content.ZLIB:
                file.seek(0)
                self._compressed(file, content, size, where, depth=depth, is_meant=True)
            case Content.SAFETENSORS:
                file.seek(0)
                headers.scan_safetensors(file, size, where, self.report)
            case Content.HDF5:
                file.seek(0)
                keras.scan_hdf5(file, where, self.report)
            case Content.NUMPY:
                file.seek(0)
                arrays.scan_numpy(io.BufferedReader(_Raw(file)), where, self.report, self.budget)
            case Content.CLOSED:
                self._closed(where)
            case Content.ZIP | Content.OTHER:
                pass
        # Readers of zip look at the end of a file, whatever stands at its beginning.
        if content is Content.ZIP or archives.ends_as_zip(file, size):
            self._deeper(depth, where)
            archives.scan_zip(self, file, where, depth=depth, is_meant=content is Content.ZIP)

    def member(self, stream: IO[bytes], size: int, where: str, *, packed: int, depth: int) -> None:
        """One thing in an archive, which can only be read forward."""
        self.entries += 1
        if self.entries > self.limits.entries:
            raise TooMuchError(f"It has more than {self.limits.entries} entries and cannot be checked.")
        buffered = io.BufferedReader(_Raw(stream), _BLOCK if size > _BLOCK else 8192)
        head = buffered.peek(HEAD_BYTES)[:HEAD_BYTES]
        match content_of(head):
            case Content.ZIP | Content.TAR:
                with self._on_disk(buffered, where, packed=packed) as (file, length):
                    self._whole(file, length, where, depth=depth + 1)
            case Content.GZIP | Content.BZIP2 | Content.XZ | Content.LZ4 | Content.ZLIB as content:
                self._compressed(buffered, content, packed, where, depth=depth, is_meant=False)
            case Content.NUMPY:
                arrays.scan_numpy(buffered, where, self.report, self.budget)
            case Content.SAFETENSORS:
                headers.scan_safetensors(buffered, size, where, self.report)
            case Content.HDF5:
                keras.scan_hdf5(buffered, where, self.report)
            case Content.CLOSED:
                self._closed(where)
            case Content.OTHER if keras.is_config(where):
                keras.scan_config(buffered, where, self.report)
            case Content.OTHER:
                is_meant = where.endswith((".pkl", ".pickle"))
                scan_pickles(buffered, where, self.report, self.budget, is_meant=is_meant)

    def _compressed(
        self, stream: IO[bytes], content: Content, packed: int, where: str, *, depth: int, is_meant: bool
    ) -> None:
        """What is packed into it, as a file of its own."""
        with tempfile.TemporaryFile(dir=self.scratch) as file:
            fault = self._copy(compressed.unpacked(stream, content), file, where, packed=packed)
            size = file.tell()
            # Two or three bytes are a weak sign: among numbers, and at the beginning of any file, they mean nothing.
            is_chance = content in WEAK and (not is_meant or (content is Content.ZLIB and not size))
            if fault and not is_chance:
                self.report.danger("broken-archive", f"{_upper(where)} cannot be unpacked to its end: {fault}.")
            if size:
                self._deeper(depth, where)
                self._whole(file, size, f"{where}, unpacked", depth=depth + 1)

    @contextmanager
    def _on_disk(self, stream: IO[bytes], where: str, *, packed: int) -> Iterator[tuple[BinaryIO, int]]:
        """The stream as a file, and its length."""
        with tempfile.TemporaryFile(dir=self.scratch) as file:
            self._copy(iter(lambda: stream.read(_BLOCK), b""), file, where, packed=packed)
            yield file, file.tell()

    def _copy(self, blocks: Iterator[bytes], file: BinaryIO, where: str, *, packed: int) -> str:
        """Returns why it ended early, or nothing. Raises: TooMuchError for what unpacks to too much."""
        size = 0
        try:
            for block in blocks:
                size += len(block)
                self.unpacked += len(block)
                self.demand_ratio(size, packed, where)
                if self.unpacked > self.limits.unpacked_bytes:
                    raise TooMuchError(
                        f"{_upper(where)} unpacks to more than {self.limits.unpacked_bytes >> 20} MiB and cannot be "
                        "checked; push what is in it."
                    )
                file.write(block)
        except compressed.BrokenStreamError as fault:
            return str(fault)
        return ""

    def demand_ratio(self, size: int, packed: int, where: str) -> None:
        """Raises: TooMuchError for what is a bomb."""
        if size > self.limits.harmless_bytes and size > packed * self.limits.ratio:
            raise TooMuchError(f"{_upper(where)} is a bomb: {packed} bytes of it unpack to {size} and more.")

    def _deeper(self, depth: int, where: str) -> None:
        if depth >= self.limits.depth:
            raise TooMuchError(
                f"{_upper(where)} lies more than {self.limits.depth} archives deep and cannot be checked."
            )

    def _closed(self, where: str) -> None:
        self.report.danger(
            "unreadable-archive",
            f"{_upper(where)} is a 7z, RAR or zstandard archive, whatever its name says, and cannot be looked into; "
            "push what is in it.",
        )


class _Raw(io.RawIOBase):
    """Any stream as what a buffer reads from; closing the buffer leaves the stream open."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:  # a buffer, which has no type before Python 3.12
        view = memoryview(target).cast("B")
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def _too_much(error: TooMuchError) -> Finding:
    return Finding(severity=Severity.DANGER, code="too-much", sentence=str(error))


def _upper(where: str) -> str:
    return shown(where[:1].upper() + where[1:]) if where.startswith(_WHOLE_FILE) else shown(where)
