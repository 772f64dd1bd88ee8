"""Files whose name says text or picture, and whose content does not: they are looked into like weights.

Only what a version adds is looked at here, and only its beginning: whether it is what its name says, and whether a
pickle could begin so. Nothing is decided by it but that a worker scans the file.
"""

from __future__ import annotations

import io
import pickletools
import re

from steelyard_platform.repos.blobs import read_blob
from steelyard_platform.repos.models import Entry, Version

HEAD_BYTES = 64 * 1024
_MOST_LOOKED_AT = 1000
_BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpg": (b"\xff\xd8\xff",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF8",),
    "webp": (b"RIFF",),
    "wav": (b"RIFF",),
    "pdf": (b"%PDF",),
    "mp3": (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"),
}
_MP4, _MP4_AT = b"ftyp", 4
_NEVER_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_LONGEST_LETTER = 4
_IMPORTS = frozenset({"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})


def disguised_in(version: Version) -> list[Entry]:
    """Of the files that the version adds, and nobody has looked into: those that are not what their names say."""
    added = Entry.objects.filter(branch=version.branch_id, added_in=version.number, blob__weight_file=None)
    added = added.exclude(blob=None).select_related("blob__xet").order_by("path")[:_MOST_LOOKED_AT]
    return [entry for entry in added if _is_disguised(entry)]


def is_disguised(path: str, head: bytes, *, goes_on: bool = False) -> bool:
    """Whether no file with this name begins like this; `goes_on` says whether there is more than `HEAD_BYTES`."""
    extension = path.rpartition(".")[2].lower()
    if extension in _BEGINNINGS:
        is_as_named = head.startswith(_BEGINNINGS[extension])
    elif extension == "mp4":
        is_as_named = head[_MP4_AT:].startswith(_MP4)
    else:
        is_as_named = _is_text(head)
    return bool(head) and (not is_as_named or _may_be_pickle(head, goes_on=goes_on))


def _is_disguised(entry: Entry) -> bool:
    assert entry.blob is not None  # noqa: S101 - the query leaves them out
    head = b"".join(read_blob(entry.blob, 0, HEAD_BYTES))
    return is_disguised(entry.path, head, goes_on=entry.blob.size > HEAD_BYTES)


def _is_text(head: bytes) -> bool:
    if _NEVER_IN_TEXT.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - _LONGEST_LETTER  # a letter that the end of the head cuts in two
    return True


def _may_be_pickle(head: bytes, *, goes_on: bool) -> bool:
    """Whether it imports something before it is no pickle any more; or may do so behind the head."""
    stream = io.BytesIO(head)
    try:
        return any(opcode.name in _IMPORTS for opcode, _, _ in pickletools.genops(stream))
    except (ValueError, OverflowError, IndexError, DeprecationWarning):  # the last where warnings are errors
        return goes_on and stream.tell() == len(head)
