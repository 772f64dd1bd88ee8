"""Zip files and tarballs from anybody, unpacked into an empty folder: nothing lands outside, no link, no bomb."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from steelyard_contracts.errors import InvalidInputError

_CHUNK = 1024 * 1024
MOST_FILES = 1_000_000
# Pictures are compressed already, and texts shrink to a tenth; what grows to more was made to fill a disk.
MOST_TIMES, ALWAYS_ALLOWED = 100, 100 * 1024 * 1024
# What systems leave in archives, and nobody put there.
_LEFT_BY_SYSTEMS = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"})
# Folders that say something by their names.
_TELLING = frozenset({"train", "val", "valid", "validation", "test", "images", "labels", "masks", "annotations"})
# Also what zipfile says of a way to compress that it does not know.
_BROKEN = (zipfile.BadZipFile, gzip.BadGzipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError)
Told = Callable[[float], None]


@dataclass(slots=True)
class Unpacked:
    """`left_out`: links, devices, and what systems leave."""

    files: int = 0
    size: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Member:
    """`open` is None for what is no plain file."""

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]] | None


def unpack(archive: Path, folder: Path, *, name: str, told: Told = lambda _: None) -> Unpacked:
    """Unpacks what `name` says it is; `told` hears the share that is done.

    Raises: InvalidInputError for what is no such archive, is encrypted, leads out of its folder or grows too much.
    """
    found = Unpacked()
    packed = archive.stat().st_size
    most = max(packed * MOST_TIMES, ALWAYS_ALLOWED)
    try:
        for member, share in _members(archive, name.lower()):
            path = _place(member.name)
            if member.open is None or not _LEFT_BY_SYSTEMS.isdisjoint(path.parts):
                found.left_out += 1
                continue
            found.files += 1
            if found.files > MOST_FILES:
                raise InvalidInputError(f"{name} holds more than {MOST_FILES:,} files; split it.")
            with member.open() as source:
                found.size += _write(source, folder / path, most=most - found.size, name=name)
            told(share)
    except _BROKEN as error:
        raise InvalidInputError(f"{name} cannot be read as an archive: {error or type(error).__name__}.") from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise InvalidInputError(f"{name} holds a file and a folder of one name: {error.filename}.") from error
    if not found.files:
        raise InvalidInputError(f"{name} holds no file.")
    return found


def content_of(folder: Path) -> Path:
    """Where the content begins: below folders that hold nothing but one other, unless their name says something."""
    while True:
        inside = list(folder.iterdir())
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].name.lower() in _TELLING:
            return folder
        folder = inside[0]


def _place(name: str) -> Path:
    """Raises: InvalidInputError for a name that leads out of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or (path.parts and path.parts[0].endswith(":")):
        raise InvalidInputError(f"The archive holds {name[:200]!r}, which leads out of its folder; pack it anew.")
    return Path(*path.parts)


def _write(source: IO[bytes], target: Path, *, most: int, name: str) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > most:
                raise InvalidInputError(f"{name} unpacks to more than {MOST_TIMES} times its size; pack it anew.")
            file.write(chunk)
    return written


def _members(archive: Path, name: str) -> Iterator[tuple[_Member, float]]:
    """Each member with the share that is done once it is."""
    if name.endswith(".zip"):
        return _zipped(archive)
    return _tarred(archive, "r:" if name.endswith(".tar") else "r:gz")


def _zipped(archive: Path) -> Iterator[tuple[_Member, float]]:
    with zipfile.ZipFile(archive) as opened:
        members = [one for one in opened.infolist() if not one.is_dir()]
        for number, one in enumerate(members, start=1):
            if one.flag_bits & 1:
                raise InvalidInputError(f"{one.filename[:200]} is encrypted; pack it without a password.")
            mode = one.external_attr >> 16
            is_plain = stat.S_IFMT(mode) in {0, stat.S_IFREG}
            yield _Member(one.filename, _opener(opened, one) if is_plain else None), number / len(members)


def _opener(opened: zipfile.ZipFile, one: zipfile.ZipInfo) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: opened.open(one)


def _tarred(archive: Path, mode: Literal["r:", "r:gz"]) -> Iterator[tuple[_Member, float]]:
    """A tarball has no list of what it holds, so the share is that of its bytes."""
    size = max(archive.stat().st_size, 1)
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode=mode) as opened:
        for one in opened:
            if not one.isdir():
                yield _Member(one.name, _taken_from(opened, one) if one.isreg() else None), raw.tell() / size
            opened.members = []  # type: ignore[attr-defined] # it would keep a list of all


def _taken_from(opened: tarfile.TarFile, one: tarfile.TarInfo) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    def taken() -> AbstractContextManager[IO[bytes]]:
        content = opened.extractfile(one)
        assert content is not None  # noqa: S101 - it is a plain file
        return content

    return taken
