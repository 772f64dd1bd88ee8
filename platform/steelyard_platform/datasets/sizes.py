"""The width and height of a picture, from its first bytes. No picture is decoded.

Sources: PNG (ISO/IEC 15948) 11.2.2, JPEG (ITU-T T.81) B.2.2, WebP (RFC 9649) 2.5 to 2.7, BMP's BITMAPINFOHEADER.
"""

from __future__ import annotations

import struct

# A JPEG's size may stand behind a camera's own notes and a small picture of the picture.
HEAD_BYTES = 256 * 1024
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # of a JPEG: what begins with its size
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def size_of_picture(head: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels; None for what is no picture, or says it too late."""
    try:
        found = _size(head)
    except struct.error:
        return None
    return found if found is not None and min(found) > 0 else None


def _size(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    if head.startswith(b"\xff\xd8"):
        return _size_of_jpeg(head)
    if head.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", head, 18)
        return width, abs(height)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _size_of_webp(head)
    return None


def _size_of_jpeg(head: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 4 <= len(head):
        if head[place] != 0xFF:  # noqa: PLR2004 - what every marker begins with
            return None
        marker = head[place + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:  # noqa: PLR2004 - filling
            place += 1 if marker == 0xFF else 2  # noqa: PLR2004 - as above
            continue
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", head, place + 5)
            return width, height
        (length,) = struct.unpack_from(">H", head, place + 2)
        place += 2 + length
    return None


def _size_of_webp(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            sides = head[24:30]
            return int.from_bytes(sides[:3], "little") + 1, int.from_bytes(sides[3:6], "little") + 1
        case _:
            return None
