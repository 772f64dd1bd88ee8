"""Files of a version, up and down.

Weights go the fast way (`steelyard.transfer`); what it does not take goes by the Hub's own client. Both speak the
server's one protocol, so that what either sends the other reads.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from steelyard.commits import Large, commit, sort_files
from steelyard.hub_addresses import at_revision, of_file
from steelyard.hub_client import HubClient
from steelyard.progress import byte_progress
from steelyard.transfer.fetching import fetch_file
from steelyard.transfer.sending import send_weights
from steelyard.transfer.small import SmallFile, fetch_small
from steelyard.transfer.store import ChunkStore
from steelyard.transport import Transport
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.names import check_file_path
from steelyard_contracts.refs import Ref

_LEFT_OUT = frozenset({".git", ".cache", "__pycache__", ".DS_Store"})
# Below this size a file is not worth a question of its own.
_WORTH_IT = 1024 * 1024


class Files:
    """Push and pull, for one server and token. `quiet` shows no progress bars."""

    def __init__(self, transport: Transport, *, quiet: bool = False) -> None:
        self._transport = transport
        self._hub = HubClient(transport.url, transport.token, quiet=quiet)
        self._quiet = quiet

    def push(self, source: Path, ref: Ref, *, message: str = "", path_in_repository: str = "") -> str:
        """Uploads a file or a folder as one commit and returns its id. Sends only what the server lacks.

        Raises: InvalidInputError for a source that is not there, and the server's errors.
        """
        files = _files_of(source, path_in_repository)
        large, small = sort_files(self._transport, ref, files)
        sent = self.send_large(ref, {path: files[path] for path in large})
        inside = {path: files[path] for path in small}
        return commit(self._transport, ref, message=message or f"Push {source.name}", small=inside, large=sent)

    def send_large(self, ref: Ref, files: dict[str, Path]) -> dict[str, Large]:
        """Sends large files without committing them. Raises: the server's errors."""
        if not files:
            return {}
        store = ChunkStore(self._transport, ref, "write")
        with byte_progress("sending weights", quiet=self._quiet) as report:
            registered = send_weights(store, files, revision=ref.revision_or_default, report=report)
        sent = {path: Large(one.sha256, one.size) for path, one in registered.items()}
        if others := {path: file for path, file in files.items() if path not in sent}:
            sent |= self._hub.upload(ref, others)
        return sent

    def pull(
        self,
        ref: Ref,
        *,
        target: Path | None = None,
        patterns: list[str] | None = None,
        cache: Path | None = None,
        at_once: int = 8,
    ) -> Path:
        """Downloads a version into `target`, or into the client's cache; every file is checked against its digest.

        Raises: the server's errors.
        """
        if target is None:
            return self._hub.download(ref, target=None, patterns=patterns, cache=cache, at_once=at_once)
        ref = ref.at(self._commit_of(ref))  # a branch may move meanwhile
        small: list[SmallFile] = []
        by_chunks: list[_Listed] = []
        whole: list[str] = []
        for one in self._listed(ref):
            if not _matches(one.path, patterns):
                continue
            path = _inside(target, one.path)
            if one.size < _WORTH_IT:
                small.append(SmallFile(of_file(ref, one.path), path, one.git_id, one.sha256))
            elif one.xet:
                by_chunks.append(one)
            else:  # it came whole, and is still to be stored by chunks
                whole.append(one.path)
        fetch_small(self._transport, small, at_once=at_once)
        if whole:
            self._hub.download(ref, target=target, patterns=[glob.escape(path) for path in whole], at_once=at_once)
        self._fetch(ref, target, by_chunks)
        return target

    def _fetch(self, ref: Ref, target: Path, files: list[_Listed]) -> None:
        store = ChunkStore(self._transport, ref, "read")
        for one in files:
            with byte_progress(one.path, quiet=self._quiet) as report:
                fetch_file(self._transport, store, one.xet, target / one.path, report=report)

    def _commit_of(self, ref: Ref) -> str:
        return str(self._transport.call("GET", at_revision(ref, "revision"))["sha"])

    def paths(self, ref: Ref) -> Iterator[str]:
        """Of the files of a version, or of what a branch stands on. Raises: the server's errors."""
        return (one.path for one in self._listed(ref))

    def _listed(self, ref: Ref) -> Iterator[_Listed]:
        for item in self._transport.pages(at_revision(ref, "tree"), recursive="true"):
            if item["type"] == "file":
                sha256 = (item.get("lfs") or {}).get("oid", "")
                yield _Listed(item["path"], item["size"], item["oid"], sha256, item.get("xetHash") or "")


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file of a version. `sha256`: of a large one; `xet`: what it is fetched by, when it is stored by chunks."""

    path: str
    size: int
    git_id: str
    sha256: str
    xet: str


def _inside(target: Path, path: str) -> Path:
    """Where the file goes. Raises: InvalidInputError when that is not in the target."""
    place = target / check_file_path(path)
    if not place.resolve().is_relative_to(target.resolve()):
        raise InvalidInputError(f"{place} leads out of {target} by a link; remove the link, then pull again.")
    return place


def _files_of(source: Path, path_in_repository: str) -> dict[str, Path]:
    """What is pushed, by its path in the repository."""
    if not source.exists():
        raise InvalidInputError(f"{source} does not exist.", source=str(source))
    if not source.is_dir():
        return {path_in_repository or source.name: source}
    prefix = f"{path_in_repository.strip('/')}/" if path_in_repository else ""
    found = ((path.relative_to(source), path) for path in sorted(source.rglob("*")) if path.is_file())
    return {prefix + inside.as_posix(): path for inside, path in found if not _LEFT_OUT.intersection(inside.parts)}


def _matches(path: str, patterns: list[str] | None) -> bool:
    """As the Hub's client reads patterns: a folder stands for all that is in it."""
    return patterns is None or any(fnmatch(path, f"{one}*" if one.endswith("/") else one) for one in patterns)
