"""What differs between the files of two versions, and inside those that are text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.weights import FileChanges
from steelyard_platform.repos import tree
from steelyard_platform.repos.blobs import blob_bytes
from steelyard_platform.repos.card import CARD_PATH
from steelyard_platform.repos.models import Blob, Version

_MOST_FILES = 10_000
_MOST_TEXTS = 6
_LONGEST_TEXT, _MOST_LINES = 128 * 1024, 2_000
_TEXTS = (".md", ".txt", ".json", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".py", ".csv")


@dataclass(frozen=True, slots=True)
class Texts:
    """A text file's lines on either side; none where it is not there."""

    path: str
    left: list[str]
    right: list[str]

    def unified(self) -> str:
        return "\n".join(difflib.unified_diff(self.left, self.right, "left", "right", lineterm=""))


@dataclass(frozen=True, slots=True)
class Row:
    """A line of either side; an empty number where that side has none. `kind`: equal, insert, delete, replace, gap."""

    kind: str
    left_number: int | None
    left: str
    right_number: int | None
    right: str


def changed_files(left: Version, right: Version) -> FileChanges:
    """By path; of a version of very many files the first."""
    ours, theirs = _files(left), _files(right)
    return FileChanges(
        added=sorted(theirs.keys() - ours.keys()),
        removed=sorted(ours.keys() - theirs.keys()),
        changed=sorted(path for path in ours.keys() & theirs.keys() if ours[path] != theirs[path]),
    )


def changed_texts(left: Version, right: Version, changes: FileChanges) -> list[Texts]:
    """The card first, then other short text files that differ, a few."""
    differing = [path for path in [*changes.changed, *changes.added, *changes.removed] if path.endswith(_TEXTS)]
    wanted = sorted(differing, key=lambda path: (path != CARD_PATH, path.count("/"), path))[:_MOST_TEXTS]
    ours, theirs = tree.entries_for_paths(left, wanted), tree.entries_for_paths(right, wanted)
    found = []
    for path in wanted:
        before, after = (_lines(side[path].blob) if path in side else [] for side in (ours, theirs))
        if before is not None and after is not None:
            found.append(Texts(path, before, after))
    return found


def side_by_side(texts: Texts) -> list[Row]:
    """The lines that differ with three around them, and a gap where others are left out."""
    matcher = difflib.SequenceMatcher(None, texts.left, texts.right)
    rows: list[Row] = []
    for group in matcher.get_grouped_opcodes(3):
        if rows:
            rows.append(Row("gap", None, "", None, ""))
        for kind, left_start, left_end, right_start, right_end in group:
            rows += _rows(texts, kind, range(left_start, left_end), range(right_start, right_end))
    return rows


def _rows(texts: Texts, kind: str, left: range, right: range) -> Iterator[Row]:
    for offset in range(max(len(left), len(right))):
        at, to = (side[offset] if offset < len(side) else None for side in (left, right))
        yield Row(
            kind,
            None if at is None else at + 1,
            "" if at is None else texts.left[at],
            None if to is None else to + 1,
            "" if to is None else texts.right[to],
        )


def _files(version: Version) -> dict[str, str]:
    rows = tree.entries_at(version).order_by("path").values_list("path", "blob_id")
    return {path: str(sha256) for path, sha256 in rows[:_MOST_FILES]}


def _lines(blob: Blob | None) -> list[str] | None:
    """None for what is no text, or too long to lie beside another."""
    if blob is None or blob.size > _LONGEST_TEXT:
        return None
    try:
        lines = blob_bytes(blob, limit=_LONGEST_TEXT).decode().splitlines()
    except (UnicodeDecodeError, SteelyardError):
        return None
    return lines if len(lines) <= _MOST_LINES else None
