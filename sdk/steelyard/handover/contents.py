"""What an export has on disk already, by its SHA-256, so that each content is fetched and kept once.

The index is a file of its own for as long as the export runs: however much is exported, memory is not what it takes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from steelyard.handover.layout import WORK, Home, read_digests
from steelyard.transport import CHUNK
from steelyard_contracts.handover import FileRecord

_AT_ONCE = 200


class Contents:
    """Of one export. `close` removes the index."""

    def __init__(self, folder: Path) -> None:
        self._work = folder / WORK
        shutil.rmtree(self._work, ignore_errors=True)  # of an export that broke off; the digests on disk say it again
        self._work.mkdir()
        self._folder = folder
        self._index = sqlite3.connect(self._work / "contents.sqlite3", isolation_level=None)
        self._index.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE content (sha256 TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE listing (path TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;"
        )

    def close(self) -> None:
        self._index.close()
        shutil.rmtree(self._work, ignore_errors=True)

    def know(self, home: Home, label: str) -> None:
        """Notes the files of a version that is whole."""
        tree = home.tree(label)
        for path, sha256 in read_digests(home.digests(label)):
            self.note(sha256, tree / path)

    def note(self, sha256: str, place: Path) -> None:
        inside = place.relative_to(self._folder).as_posix()
        self._index.execute("INSERT OR IGNORE INTO content VALUES (?, ?)", (sha256, inside))

    def take(self, sha256: str, place: Path) -> bool:
        """Puts the content there if the export has it: as a second name of the same file, where the disk knows such."""
        row = self._index.execute("SELECT path FROM content WHERE sha256 = ?", (sha256,)).fetchone()
        source = self._folder / row[0] if row else None
        if source is None or not source.is_file():
            return False
        if source == place:
            return True
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        try:
            os.link(source, place)
        except OSError:  # another kind of disk, or more names than a file can have
            shutil.copyfile(source, place)
        return True

    def list_files(self, files: Iterable[FileRecord]) -> None:
        """Keeps a version's list of files, in place of the one before."""
        self._index.execute("DELETE FROM listing")
        waiting = iter(files)
        while batch := list(islice(waiting, _AT_ONCE)):
            self._index.execute("BEGIN")
            self._index.executemany(
                "INSERT OR REPLACE INTO listing VALUES (?, ?)", [(one.path, one.model_dump_json()) for one in batch]
            )
            self._index.execute("COMMIT")

    def listed(self) -> Iterator[list[FileRecord]]:
        """The list in batches, by path: byte by byte, whatever the server sorts by."""
        after = ""
        while True:
            asked = "SELECT path, record FROM listing WHERE path > ? ORDER BY path LIMIT ?"
            rows = self._index.execute(asked, (after, _AT_ONCE)).fetchall()
            if not rows:
                return
            yield [FileRecord.model_validate_json(record) for _, record in rows]
            after = rows[-1][0]


def sha256_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
