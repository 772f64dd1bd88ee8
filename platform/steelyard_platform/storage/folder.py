"""Objects as files in a folder: the embedded store.

A file lands by temporary file, fsync, rename, fsync of its folder, so that a crash leaves all of it or nothing.
Clients reach it through addresses that this installation signs and `storage.views` serves.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.storage import signing
from steelyard_platform.storage.batches import batches
from steelyard_platform.storage.objects import (
    CHUNK,
    Fragment,
    ObjectExistsError,
    ObjectInfo,
    ObjectMissingError,
    Part,
    SignedRanges,
    check_key,
)

_RANGES_IN_ADDRESS = 64
_TEMPORARY = ".temporary"
_PARTS = ".parts"


class FolderObjectStore:
    """Keeps the promises of `ObjectStore` with a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (_TEMPORARY, _PARTS):
            (root / name).mkdir(parents=True, exist_ok=True)

    def put(self, key: str, chunks: Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        target = self._path(key)
        if if_absent and target.exists():
            raise ObjectExistsError(f"The object {key} exists.")
        with self._landing() as (temporary, file):
            for chunk in chunks:
                file.write(chunk)
            _sync(file)
            self._publish(temporary, target, if_absent=if_absent)
        return self.stat(key)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.stat(key)  # says now that it is missing; the file is opened when somebody reads
        return _read_range(self._path(key), start, end)

    def open(self, key: str, start: int, end: int) -> FilePart:
        """Some of an object as a file. Raises: ObjectMissingError."""
        try:
            return FilePart(self._path(key), start, end)
        except FileNotFoundError as error:
            raise ObjectMissingError(f"There is no object {key}.") from error

    def stat(self, key: str) -> ObjectInfo:
        try:
            status = self._path(key).stat()
        except FileNotFoundError as error:
            raise ObjectMissingError(f"There is no object {key}.") from error
        return ObjectInfo(key, status.st_size, _etag(status), datetime.fromtimestamp(status.st_mtime, UTC))

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        top = self.root / prefix.rpartition("/")[0]
        paths = (path for path in top.rglob("*") if path.is_file())
        for key in sorted(path.relative_to(self.root).as_posix() for path in paths):
            if key.startswith(prefix) and not key.startswith("."):
                yield self.stat(key)

    def copy(self, source: str, target: str, *, if_etag: str) -> None:
        # A second name for the same file. Writers put another file in its place, and never change one that is there.
        caught = self.root / _TEMPORARY / secrets.token_hex(16)
        try:
            caught.hardlink_to(self._path(source))
        except FileNotFoundError as error:
            raise ObjectMissingError(f"There is no object {source}.") from error
        if _etag(caught.stat()) != if_etag:
            caught.unlink()
            raise ObjectExistsError(f"The object {source} was replaced while it was being copied.")
        self._publish(caught, self._path(target), if_absent=False)

    def move(self, source: str, target: str, *, if_etag: str) -> None:
        # First out of reach of a late writer, then look at what was caught.
        caught = self.root / _TEMPORARY / secrets.token_hex(16)
        try:
            self._path(source).rename(caught)
        except FileNotFoundError as error:
            raise ObjectMissingError(f"There is no object {source}.") from error
        if _etag(caught.stat()) != if_etag:
            caught.unlink()
            raise ObjectExistsError(f"The object {source} was replaced while it was being moved.")
        self._publish(caught, self._path(target), if_absent=False)

    def start_parts(self, key: str) -> str:
        check_key(key)
        upload = secrets.token_hex(16)
        (self.root / _PARTS / upload).mkdir()
        return upload

    def put_part(self, upload: str, number: int, chunks: Iterable[bytes]) -> Part:
        """What the signed address of a part does. Raises: InvalidInputError for an ended upload."""
        folder = self._parts(upload)
        with self._landing() as (temporary, file):
            for chunk in chunks:
                file.write(chunk)
            _sync(file)
            temporary.replace(folder / str(number))
        return Part(number, _etag((folder / str(number)).stat()))

    def finish_parts(self, key: str, upload: str, parts: list[Part]) -> ObjectInfo:
        folder = self._parts(upload)
        for part in parts:
            path = folder / str(part.number)
            if not path.exists() or _etag(path.stat()) != part.etag.strip('"'):
                raise InvalidInputError(f"Part {part.number} is missing or not the one that was sent; send it again.")
        with self._landing() as (temporary, file):
            for part in sorted(parts, key=lambda part: part.number):
                with (folder / str(part.number)).open("rb") as source:
                    shutil.copyfileobj(source, file, CHUNK)
            _sync(file)
            self._publish(temporary, self._path(key), if_absent=False)
        shutil.rmtree(folder)
        return self.stat(key)

    def abort_parts(self, key: str, upload: str) -> None:  # noqa: ARG002 - the protocol's signature
        shutil.rmtree(self.root / _PARTS / check_key(upload), ignore_errors=True)

    def fragments(self) -> Iterator[Fragment]:
        for path in (self.root / _TEMPORARY).iterdir():
            with suppress(FileNotFoundError):  # it has become an object meanwhile
                status = path.stat()
                yield Fragment(_TEMPORARY, path.name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
        for path in (self.root / _PARTS).iterdir():
            with suppress(FileNotFoundError):
                parts = [part.stat() for part in path.iterdir()]
                # Each part that lands changes the folder.
                modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                yield Fragment(_PARTS, path.name, sum(part.st_size for part in parts), modified)

    def drop_fragment(self, fragment: Fragment) -> None:
        path = self.root / fragment.key / check_key(fragment.upload)
        if fragment.key == _PARTS:
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def signed_get(self, key: str, seconds: int, *, filename: str, content_type: str) -> str | None:  # noqa: ARG002
        return None

    def signed_ranges(self, key: str, seconds: int, spans: list[tuple[int, int]]) -> list[SignedRanges]:
        signed = []
        for batch in batches(spans, _RANGES_IN_ADDRESS):
            ranges = ",".join(f"{first}-{end - 1}" for first, end in batch)
            signed.append(SignedRanges(signing.sign_address("GET", check_key(key), seconds, ranges=ranges), batch))
        return signed

    def signed_put(self, key: str, seconds: int) -> str:
        return signing.sign_address("PUT", check_key(key), seconds)

    def signed_part(self, key: str, upload: str, number: int, seconds: int) -> str:
        return signing.sign_address("PUT", check_key(key), seconds, upload=upload, part=str(number))

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _parts(self, upload: str) -> Path:
        folder = self.root / _PARTS / check_key(upload)
        if not folder.is_dir():
            raise InvalidInputError("This upload has ended; ask for a new one.")
        return folder

    @contextmanager
    def _landing(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A temporary file on the same disk, gone again if it is not published."""
        temporary = self.root / _TEMPORARY / secrets.token_hex(16)
        try:
            with temporary.open("xb") as file:
                yield temporary, file
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path, target: Path, *, if_absent: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if if_absent:
            try:
                target.hardlink_to(temporary)  # fails if another got there first; a rename would replace it
            except FileExistsError as error:
                raise ObjectExistsError(f"The object {target.name} exists.") from error
        else:
            temporary.replace(target)
        _sync_folder(target.parent)


class FilePart:
    """Bytes `start` to `end - 1` of a file; a WSGI server hands them to the kernel by the file's number."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = end - start

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left)) or b""
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


def _read_range(path: Path, start: int, end: int | None) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        left = None if end is None else end - start
        while left is None or left > 0:
            chunk = file.read(CHUNK if left is None else min(CHUNK, left))
            if not chunk:
                return
            if left is not None:
                left -= len(chunk)
            yield chunk


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
