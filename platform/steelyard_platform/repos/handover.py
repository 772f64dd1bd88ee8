"""A repository's rows as an export reads them, and its versions as an import brings them: with their number and date.

    import_version(repository=…, record=…, incoming=…, actor=…)

An import says what was done elsewhere, in others' names: for maintainers alone, and the audit trail says who they were.
"""

from __future__ import annotations

import logging

from django.db import transaction

from steelyard_contracts.errors import ConflictError, SteelyardError
from steelyard_contracts.handover import BranchRecord, FileRecord, RepositoryRecord, VersionRecord
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.repos import commits, tree
from steelyard_platform.repos.card import CARD_PATH, refresh_card
from steelyard_platform.repos.incoming import Incoming
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Branch, Repository, Version
from steelyard_platform.repos.services import refuse_jobs

_log = logging.getLogger(__name__)
_MOST_FILES = 1000


def demand_import(actor: Actor, repository: Repository) -> None:
    """Raises: ForbiddenError for others than maintainers."""
    refuse_jobs(actor)
    demand(actor, Action.MANAGE, repository.resource)


def import_version(*, repository: Repository, record: VersionRecord, incoming: Incoming, actor: Actor) -> Version:
    """A version with the number, author and date that it had; its content has arrived.

    Raises: ForbiddenError; ConflictError for a number that is not free; StaleParentError; as `commits.commit`.
    """
    demand_import(actor, repository)
    past = commits.Past(
        author=_plain(record.author),
        at=record.created_at,
        follows=record.follows or 0,
        number=record.number,
        commit_id=record.commit,
        lineage_follows=record.lineage_follows,
    )
    version = commits.commit(
        repository=repository,
        branch_name=record.branch,
        operations=incoming.operations,
        message=commits.Message(_plain(record.title), _plain(record.message)),
        actor=actor,
        even_unchanged=record.keep_unchanged,
        past=past,
    )
    if version is None:
        raise ConflictError(f"The version brings no files, and {repository.full_name} has none before it.")
    if record.branch == DEFAULT_REVISION and any(one.path == CARD_PATH for one in incoming.operations):
        _read_card(repository, version)
    return version


@transaction.atomic
def import_repository(*, repository: Repository, record: RepositoryRecord, actor: Actor) -> None:
    """An older date than the repository has here. Raises: ForbiddenError."""
    repository = lock_repository(repository.pk)
    demand_import(actor, repository)
    if record.created_at < repository.created_at:
        Repository.objects.filter(pk=repository.pk).update(created_at=record.created_at)
        made_at = record.created_at.isoformat()
        audit.record(actor, "import repository", repository.full_name, made_at=made_at)


def files_at(version: Version, *, after: str, limit: int) -> tuple[list[FileRecord], str | None]:
    """A page of the version's files, by path, and the path to go on after."""
    limit = max(1, min(limit, _MOST_FILES))
    entries = tree.entries_at(version).order_by("path")
    found = list((entries.filter(path__gt=after) if after else entries)[: limit + 1])
    files = [
        FileRecord(
            path=entry.path,
            size=entry.blob.size,
            sha256=entry.blob.sha256,
            large=entry.is_lfs,
            xet=entry.blob.xet_id or "",
        )
        for entry in found[:limit]
        if entry.blob is not None
    ]
    return files, files[-1].path if len(found) > limit else None


def branch_record(branch: Branch) -> BranchRecord:
    """Of a row that came with its head and its base."""
    return BranchRecord(
        name=branch.name,
        head=branch.head.label if branch.head else None,
        base=branch.base.label if branch.base else None,
        sees_base=branch.sees_base,
    )


def _read_card(repository: Repository, version: Version) -> None:
    """The version is made: whatever is wrong with its card must not make it look as if it were not."""
    try:
        refresh_card(repository, version)
    except SteelyardError:
        _log.exception("the card of %s@%s could not be read", repository.full_name, version.label)


def _plain(text: str) -> str:
    """Without what PostgreSQL keeps in no text."""
    return text.replace("\0", "")
