"""A folder of files, or one file, as a version. Its date is that of its newest file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from getpass import getuser
from pathlib import Path

from steelyard.handover.naming import NOBODY
from steelyard.handover.source import File, LocalFile, SourceRepository, SourceVersion, Tree, folder_tree
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.names import MAX_NAME_LENGTH
from steelyard_contracts.refs import Ref, RepositoryKind

_UNFIT = re.compile(r"[^A-Za-z0-9._]+|-{2,}|\.{2,}")


class PlainFolder:
    """Of one path."""

    def __init__(self, path: Path, *, dataset: bool = False) -> None:
        self._path = path.resolve()
        self._kind = RepositoryKind.DATASET if dataset else RepositoryKind.MODEL

    def repositories(self) -> list[SourceRepository]:
        path = self._path
        files: dict[str, File] = dict(folder_tree(path)) if path.is_dir() else {path.name: LocalFile(path)}
        version = local_version(files, title=f"Import {path.name}")
        ref = Ref(self._kind, NOBODY, slug(path.stem if path.is_file() else path.name))
        return [SourceRepository(ref=ref, versions=[version], created_at=version.created_at)]


def local_version(files: dict[str, File], *, title: str, label: str = "1", author: str = "") -> SourceVersion:
    """A version of files that are here. Raises: InvalidInputError for none."""
    if not files:
        raise InvalidInputError("There are no files to import.")
    places = [file.path for file in files.values() if isinstance(file, LocalFile)]
    tree: Tree = partial(dict, files)
    return SourceVersion(
        label=label,
        title=title,
        author=author or user_name(),
        created_at=max(changed_at(place) for place in places),
        tree=tree,
        files=len(files),
        size=sum(place.stat().st_size for place in places),
    )


def changed_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def user_name() -> str:
    """Who ran the import, for what says nothing of its author."""
    try:
        return getuser()
    except (KeyError, OSError, ImportError):
        return "somebody"


def slug(text: str) -> str:
    """What a repository may be called, of what somebody called a model.

    >>> slug("My model (v2)")
    'My-model-v2'
    """
    name = _UNFIT.sub("-", text).strip("-._")[:MAX_NAME_LENGTH].strip("-._")
    name = re.sub(r"-{2,}", "-", name)
    return f"{name}-1" if name.endswith((".git", ".ipynb")) else name or "imported"
