"""What a revision names: a commit id, then `vN`, then an alias, then a tag, then a branch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from steelyard_contracts.digests import record_id
from steelyard_contracts.errors import RevisionNotFoundError
from steelyard_contracts.names import is_commit_id, is_version_number
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.repos.models import Alias, Branch, Repository, Tag, Version

_SHORT_ID = re.compile(r"[0-9a-f]{7,39}")
_BRANCH_PREFIX = "refs/heads/"
_TAG_PREFIX = "refs/tags/"
# Where Hub clients, which know no aliases, see them among the references.
ALIAS_PREFIX = "refs/aliases/"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository at a revision. `version` is None while nothing has been committed there."""

    repository: Repository
    version: Version | None

    @property
    def commit_id(self) -> str:
        return self.version.commit_id if self.version else root_id(self.repository)


def root_id(repository: Repository) -> str:
    """The id of the empty state every repository begins with, which clients ask for before the first commit."""
    return record_id({"repository": str(repository.pk)})


def resolve(repository: Repository, revision: str = DEFAULT_REVISION) -> Snapshot:
    """Raises: RevisionNotFoundError."""
    versions = Version.objects.select_related("branch").filter(repository=repository)
    if is_commit_id(revision):
        found = versions.filter(commit_id=revision).first()
        if found is None and revision != root_id(repository):
            raise _unknown(repository, revision)
        return Snapshot(repository, found)
    if is_version_number(revision):
        found = versions.filter(number=int(revision[1:])).first()
        if found is None:
            raise _unknown(repository, revision)
        return Snapshot(repository, found)
    try:
        return Snapshot(repository, _by_name(repository, revision))
    except RevisionNotFoundError:
        # Names come first: a short id is only ever a guess at what was meant.
        short = list(versions.filter(commit_id__startswith=revision)[:2]) if _SHORT_ID.fullmatch(revision) else []
        if len(short) != 1:
            raise
        return Snapshot(repository, short[0])


def _by_name(repository: Repository, revision: str) -> Version | None:
    name = revision.removeprefix(ALIAS_PREFIX).removeprefix(_TAG_PREFIX).removeprefix(_BRANCH_PREFIX)
    if revision.startswith(ALIAS_PREFIX) or not revision.startswith("refs/"):
        alias = Alias.objects.select_related("version__branch").filter(repository=repository, name=name).first()
        if alias is not None:
            return alias.version
    if revision.startswith(ALIAS_PREFIX):
        raise _unknown(repository, revision)
    if not revision.startswith(_BRANCH_PREFIX):
        tag = Tag.objects.select_related("version__branch").filter(repository=repository, name=name).first()
        if tag is not None:
            return tag.version
    if not revision.startswith(_TAG_PREFIX):
        branch = find_branch(repository, name)
        if branch is not None:
            return tip_of(branch)
        if revision == DEFAULT_REVISION:
            return None
    raise _unknown(repository, revision)


def find_branch(repository: Repository, name: str) -> Branch | None:
    related = ("head__branch", "base__branch")
    return Branch.objects.select_related(*related).filter(repository=repository, name=name).first()


def tip_of(branch: Branch) -> Version | None:
    """A branch's newest state: its own head, or what it shows of the version it came from."""
    if branch.head is not None:
        return branch.head
    return branch.base if branch.sees_base else None


def _unknown(repository: Repository, revision: str) -> RevisionNotFoundError:
    return RevisionNotFoundError(f"{repository.full_name} has no revision {revision!r}.", revision=revision)
