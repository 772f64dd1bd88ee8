"""Files of a version into an export: those it has are linked, the others fetched and held against their digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from steelyard.handover.contents import Contents, sha256_of_file
from steelyard.handover.layout import Home, digest_line, written
from steelyard.hub_addresses import of_file
from steelyard.transfer.fetching import fetch_file
from steelyard.transfer.small import SmallFile, fetch_small
from steelyard.transfer.store import ChunkStore
from steelyard.transport import Transport
from steelyard_contracts.errors import DigestMismatchError, InvalidInputError
from steelyard_contracts.handover import FileRecord
from steelyard_contracts.refs import Ref

_SMALL = 1024 * 1024
_AT_ONCE = 8


def fetch_version(transport: Transport, contents: Contents, home: Home, ref: Ref) -> None:
    """Makes the version's folder whole, then writes its digests; `ref` names the version by its label.

    Raises: QuarantinedError, DigestMismatchError, and the server's other errors. What came stays for the next try.
    """
    label = ref.revision_or_default
    tree = home.tree(label)
    tree.mkdir(parents=True, exist_ok=True)
    address = f"/api/v1/{ref.kind.plural}/{ref.repository}/versions/{label}/files"
    contents.list_files(FileRecord.model_validate(item) for item in transport.items(address, limit=1000))
    fetcher = _Fetcher(transport, contents, tree, ref)
    for batch in contents.listed():
        fetcher.fetch(batch)
    with written(home.digests(label)) as file:
        for batch in contents.listed():
            file.writelines(digest_line(one.sha256, one.path) for one in batch)


class _Fetcher:
    def __init__(self, transport: Transport, contents: Contents, tree: Path, ref: Ref) -> None:
        self._transport, self._contents, self._tree, self._ref = transport, contents, tree, ref
        self._store = ChunkStore(transport, ref, "read")

    def fetch(self, batch: list[FileRecord]) -> None:
        wanted: dict[str, FileRecord] = {}
        later: list[FileRecord] = []
        for one in batch:
            place = self._place(one)
            if place.is_file() and place.stat().st_size == one.size and sha256_of_file(place) == one.sha256:
                self._contents.note(one.sha256, place)  # an export that broke off has left it
            elif one.sha256 in wanted:
                later.append(one)
            elif not self._contents.take(one.sha256, place):
                wanted[one.sha256] = one
        self._fetch_small([one for one in wanted.values() if one.size < _SMALL])
        for one in wanted.values():
            if one.size >= _SMALL:
                self._fetch_large(one)
        for one in wanted.values():
            self._contents.note(one.sha256, self._place(one))
        for one in later:
            self._contents.take(one.sha256, self._place(one))

    def _fetch_small(self, files: list[FileRecord]) -> None:
        small = [SmallFile(of_file(self._ref, one.path), self._place(one), "", one.sha256) for one in files]
        fetch_small(self._transport, small, at_once=_AT_ONCE)

    def _fetch_large(self, one: FileRecord) -> None:
        if one.xet:
            fetch_file(self._transport, self._store, one.xet, self._place(one))
        else:  # it came whole, and is still to be stored by chunks
            self._transport.repeat(lambda: self._fetch_whole(one))

    def _fetch_whole(self, one: FileRecord) -> None:
        place = self._place(one)
        place.parent.mkdir(parents=True, exist_ok=True)
        part, digest = place.with_name(f"{place.name}.part"), hashlib.sha256()
        with self._transport.stream(of_file(self._ref, one.path)) as (_, blocks), part.open("wb") as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != one.sha256:
            part.unlink()
            raise DigestMismatchError(f"{one.path} was damaged on its way; export again.", path=one.path)
        part.replace(place)

    def _place(self, one: FileRecord) -> Path:
        place = self._tree / one.path
        if not place.resolve().is_relative_to(self._tree.resolve()):
            raise InvalidInputError(f"{place} leads out of {self._tree} by a link; remove the link, then export again.")
        return place
