"""Where the Hub's side of the server answers, for a repository at a revision."""

from __future__ import annotations

from urllib.parse import quote

from steelyard_contracts.refs import Ref, RepositoryKind


def at_revision(ref: Ref, what: str) -> str:
    """The path of `what` (`tree`, `commit`, `preupload` ...) of the repository at the revision that `ref` names."""
    revision = quote(ref.revision_or_default, safe="")
    return f"/api/{ref.kind.plural}/{ref.repository}/{what}/{revision}"


def of_file(ref: Ref, path: str) -> str:
    """Where a file's content is."""
    prefix = "" if ref.kind is RepositoryKind.MODEL else f"/{ref.kind.plural}"
    return f"{prefix}/{ref.repository}/resolve/{quote(ref.revision_or_default, safe='')}/{quote(path)}"
