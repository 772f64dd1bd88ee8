"""How people write "that version of that repository": `team/model@production`.

>>> parse_ref("team/model@production")
Ref(kind=<RepositoryKind.MODEL: 'model'>, namespace='team', name='model', revision='production')
>>> str(parse_ref("datasets:/team/digits@v3"))
'datasets:/team/digits@v3'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from steelyard_contracts.errors import InvalidReferenceError
from steelyard_contracts.names import (
    check_namespace,
    check_reference_name,
    check_repository_name,
    is_commit_id,
    is_version_number,
)

DEFAULT_REVISION = "main"


class RepositoryKind(StrEnum):
    MODEL = "model"
    DATASET = "dataset"

    @property
    def plural(self) -> str:
        """The word in the Hub's URLs: `models`, `datasets`."""
        return f"{self}s"


@dataclass(frozen=True, slots=True)
class Ref:
    """A repository and, perhaps, a revision of it. `revision=None` stands for the newest of `main`."""

    kind: RepositoryKind
    namespace: str
    name: str
    revision: str | None = None

    @property
    def repository(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def revision_or_default(self) -> str:
        return self.revision or DEFAULT_REVISION

    def at(self, revision: str) -> Ref:
        return Ref(self.kind, self.namespace, self.name, revision)

    def __str__(self) -> str:
        scheme = "" if self.kind is RepositoryKind.MODEL else f"{self.kind.plural}:/"
        suffix = f"@{self.revision}" if self.revision else ""
        return f"{scheme}{self.repository}{suffix}"


def parse_ref(text: str, *, kind: RepositoryKind = RepositoryKind.MODEL) -> Ref:
    """Reads `[models:/|datasets:/]namespace/name[@revision]`; `kind` is for texts that name none.

    Raises:
        InvalidReferenceError: the text has another shape.
        InvalidNameError: a part of it is no valid name.
    """
    rest = text.strip()
    for candidate in RepositoryKind:
        scheme = f"{candidate.plural}:/"
        if rest.startswith(scheme):
            kind, rest = candidate, rest.removeprefix(scheme).lstrip("/")
    repository, at, revision = rest.partition("@")
    namespace, slash, name = repository.partition("/")
    if not slash or not name or "/" in name or (at and not revision):
        raise InvalidReferenceError(
            f"{text!r} is no reference; write namespace/name or namespace/name@revision.", text=text
        )
    check_namespace(namespace)
    check_repository_name(name)
    if revision and not (is_commit_id(revision) or is_version_number(revision)):
        check_reference_name(revision, "revision")
    return Ref(kind, namespace, name, revision or None)
