"""What a file is, by its content."""

from __future__ import annotations

import tarfile
from enum import StrEnum

# Enough for the magic of a tar, which stands at byte 257.
HEAD_BYTES = 512

_SAFETENSORS_LENGTH = 8
_MOST_HEADER_BYTES = 1 << 40  # beyond, the eight bytes are no length but text
_ZLIB_METHOD, _ZLIB_CHECK = 8, 31


class Content(StrEnum):
    ZIP = "zip"
    TAR = "tar"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    LZ4 = "lz4"
    ZLIB = "zlib"
    CLOSED = "closed"  # an archive that is recognised and not looked into
    NUMPY = "numpy"
    HDF5 = "hdf5"
    SAFETENSORS = "safetensors"
    OTHER = "other"  # perhaps a pickle, which has no magic of its own


_MAGIC: tuple[tuple[bytes, Content], ...] = (
    (b"PK\x03\x04", Content.ZIP),
    (b"PK\x05\x06", Content.ZIP),
    (b"PK\x07\x08", Content.ZIP),
    (b"\x1f\x8b\x08", Content.GZIP),
    (b"\xfd7zXZ\x00", Content.XZ),
    (b"\x5d\x00\x00", Content.XZ),  # lzma before xz
    (b"\x04\x22\x4d\x18", Content.LZ4),
    (b"7z\xbc\xaf\x27\x1c", Content.CLOSED),
    (b"Rar!\x1a\x07", Content.CLOSED),
    (b"\x28\xb5\x2f\xfd", Content.CLOSED),  # zstandard
    (b"\x93NUMPY", Content.NUMPY),
    (b"\x89HDF\r\n\x1a\n", Content.HDF5),
)

# These few bytes also begin what is none of it; only unpacking tells.
WEAK = frozenset({Content.GZIP, Content.ZLIB, Content.XZ})


def content_of(head: bytes) -> Content:
    """By the first `HEAD_BYTES` of a file."""
    for magic, content in _MAGIC:
        if head.startswith(magic):
            return content
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in {b"1AY&SY", b"\x17rE8P\x90"}:
        return Content.BZIP2
    if is_tar(head):
        return Content.TAR
    if head[8:9] == b"{" and int.from_bytes(head[:_SAFETENSORS_LENGTH], "little") < _MOST_HEADER_BYTES:
        return Content.SAFETENSORS
    if len(head) > 1 and head[0] & 0x0F == _ZLIB_METHOD and int.from_bytes(head[:2], "big") % _ZLIB_CHECK == 0:
        return Content.ZLIB
    return Content.OTHER


def is_tar(head: bytes) -> bool:
    """Whether a tar's first header stands here: its checksum is right."""
    if len(head) < HEAD_BYTES or not head[0]:
        return False
    try:
        tarfile.TarInfo.frombuf(head[:HEAD_BYTES], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
