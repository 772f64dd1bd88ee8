"""Archives: what their lists of contents say is held against what lies there, and each entry is looked at.

Nothing is unpacked to the names that stand in an archive. A name that leads out of it, and a link, are dangers to
whoever unpacks it.
"""

from __future__ import annotations

import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from picklescan.relaxed_zipfile import RelaxedZipFile

from steelyard_workers.scanning.report import TooMuchError, shown

if TYPE_CHECKING:
    from steelyard_workers.scanning.walk import Walk

_END = b"PK\x05\x06"
_END_BYTES = 22
_LONGEST_COMMENT = 65535
_LOCAL_BYTES, _LOCAL_NAME, _LOCAL_EXTRA = 30, 26, 28
_ENCRYPTED = 0x1
_LONGEST_NAME = 4096
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, OSError, EOFError, ValueError
)  # fmt: skip
_DRIVE = re.compile(r"[A-Za-z]:")


def ends_as_zip(file: BinaryIO, size: int) -> bool:
    """Whether the end of a zip's list of contents stands at the end of the file."""
    file.seek(max(size - _END_BYTES - _LONGEST_COMMENT, 0))
    return _END in file.read()


def scan_zip(walk: Walk, file: BinaryIO, where: str, *, depth: int, is_meant: bool) -> None:
    """Every entry, as its list of contents names it."""
    file.seek(0)
    try:
        archive = RelaxedZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError):
        if is_meant:
            walk.report.danger("broken-archive", f"The list of contents of the zip in {shown(where)} cannot be read.")
        return
    entries = archive.infolist()
    if len(entries) > walk.limits.entries:
        raise TooMuchError(f"It has more than {walk.limits.entries} entries and cannot be checked.")
    if _END in archive.comment:
        walk.report.danger("lying-archive", f"The zip in {shown(where)} has a second list of contents in its comment.")
    _demand_no_overlap(entries, where)
    packed = [one for one in entries if one.compress_type != zipfile.ZIP_STORED]
    walk.demand_ratio(sum(one.file_size for one in packed), sum(one.compress_size for one in packed), where)
    names: set[str] = set()
    for entry in entries:
        inside = entry.filename if where == "the file" else f"{where}: {entry.filename}"
        _look_at_name(walk, entry.orig_filename, is_link=stat.S_ISLNK(entry.external_attr >> 16))
        if entry.filename in names:
            walk.report.danger("lying-archive", f"The zip in {shown(where)} has two entries {shown(entry.filename)}.")
        names.add(entry.filename)
        if not entry.is_dir() or entry.file_size:
            _scan_entry(walk, archive, file, entry, inside, depth=depth)


def _scan_entry(
    walk: Walk, archive: RelaxedZipFile, file: BinaryIO, entry: zipfile.ZipInfo, inside: str, *, depth: int
) -> None:
    if entry.flag_bits & _ENCRYPTED:
        walk.report.danger("unreadable-archive", f"{shown(inside)} is encrypted and cannot be looked into.")
        return
    if not _is_where_it_should_be(file, entry):
        walk.report.danger("lying-archive", f"Another file lies where the list of contents says {shown(inside)} is.")
    try:
        with archive.open(entry) as stream:
            walk.member(stream, entry.file_size, inside, packed=entry.compress_size, depth=depth)
    except _BROKEN:
        walk.report.danger("broken-archive", f"{shown(inside)} cannot be unpacked.")


def _is_where_it_should_be(file: BinaryIO, entry: zipfile.ZipInfo) -> bool:
    """Whether the entry's own header has the name that the list has: readers differ in which they believe."""
    file.seek(entry.header_offset)
    local = file.read(_LOCAL_BYTES)
    if len(local) < _LOCAL_BYTES or not local.startswith(b"PK\x03\x04"):
        return False
    length = int.from_bytes(local[_LOCAL_NAME : _LOCAL_NAME + 2], "little")
    name = file.read(length)
    return entry.orig_filename in {name.decode("utf-8", "replace"), name.decode("cp437")}


def _demand_no_overlap(entries: list[zipfile.ZipInfo], where: str) -> None:
    end = 0
    for entry in sorted(entries, key=lambda one: one.header_offset):
        if entry.header_offset < end:
            raise TooMuchError(f"The zip in {shown(where)} is a bomb: its entries lie over each other.")
        end = entry.header_offset + _LOCAL_BYTES + len(entry.orig_filename) + entry.compress_size


def scan_tar(walk: Walk, file: BinaryIO, where: str, *, depth: int) -> None:
    """Every entry, in order."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for entry in archive:
                inside = entry.name if where == "the file" else f"{where}: {entry.name}"
                _look_at_name(walk, entry.name, is_link=entry.issym() or entry.islnk())
                if entry.isdev():
                    walk.report.danger("unsafe-entry", f"{shown(inside)} is a device or a pipe, not a file.")
                stream = archive.extractfile(entry) if entry.isfile() else None
                if stream is not None:
                    walk.member(stream, entry.size, inside, packed=entry.size, depth=depth)
                vars(archive)["members"] = []  # it would keep them all
    except (tarfile.TarError, OSError, EOFError, ValueError, UnicodeError, OverflowError):
        walk.report.danger("broken-archive", f"The tar in {shown(where)} cannot be read to its end.")


def _look_at_name(walk: Walk, name: str, *, is_link: bool) -> None:
    if is_link:
        walk.report.danger("unsafe-entry", f"{shown(name)} is a link; unpacking it may write to another place.")
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or _DRIVE.match(name):
        walk.report.danger(
            "unsafe-entry", f"{shown(name)} leads out of the archive; unpacking it writes to another place."
        )
    elif any(ord(letter) < ord(" ") for letter in name) or len(name) > _LONGEST_NAME:
        walk.report.danger(
            "unsafe-entry", f"{shown(name)} is no name for a file: it is too long, or has control characters."
        )
