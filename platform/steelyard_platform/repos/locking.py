"""One write to a repository at a time, and none to what was deleted a moment ago."""

from __future__ import annotations

from uuid import UUID

from steelyard_contracts.errors import RepositoryNotFoundError, RevisionNotFoundError
from steelyard_platform.repos.models import Repository, Version


def lock_repository(key: UUID) -> Repository:
    """The row, with its team, locked until the transaction ends.

    Raises: RepositoryNotFoundError when it was deleted since the caller looked it up.
    """
    rows = Repository.objects.select_for_update(of=("self",)).select_related("team")
    found = rows.filter(pk=key).first()
    if found is None:
        raise RepositoryNotFoundError("The repository was deleted meanwhile.")
    return found


def lock_version(version: Version) -> Repository:
    """Locks the version's repository, for who is about to refer to the version.

    Raises: RepositoryNotFoundError, RevisionNotFoundError when it was deleted since the caller looked it up.
    """
    repository = lock_repository(version.repository_id)
    if not Version.objects.filter(pk=version.pk, repository=repository).exists():
        raise RevisionNotFoundError(f"{repository.full_name}@{version.label} was deleted meanwhile.")
    return repository
