"""Committing: the one way a version comes to be.

    plan    what the operations change, given what lives at their paths   (pure)
    commit  under the repository's lock: check the parent, close old entries, add new ones, number the version

The cost is that of the paths touched. Two commits at once are serialised by the lock; the second is refused
when it names a parent that is no longer the head, or touches a path that the first has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from steelyard_contracts.digests import record_id
from steelyard_contracts.errors import (
    BlobMissingError,
    ConflictError,
    EntryNotFoundError,
    InvalidInputError,
    LeaseLostError,
    RevisionNotFoundError,
    StaleParentError,
)
from steelyard_contracts.names import check_file_path
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import TokenGrant
from steelyard_platform.accounts.permissions import Actor, Scope
from steelyard_platform.repos import tree
from steelyard_platform.repos.blobs import held_blobs, keep_blobs
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Blob, Branch, Entry, Repository, Version
from steelyard_platform.repos.revisions import find_branch, root_id, tip_of
from steelyard_platform.repos.search import note_size
from steelyard_platform.repos.signals import committed
from steelyard_platform.repos.webhooks import Event, UpdatedRef, announce
from steelyard_platform.storage.batches import SIZE, batches

_RANGES = 100
MAX_TITLE = 300


@dataclass(frozen=True, slots=True)
class AddFile:
    path: str
    sha256: str
    is_lfs: bool


@dataclass(frozen=True, slots=True)
class DeleteFile:
    path: str


@dataclass(frozen=True, slots=True)
class DeleteFolder:
    path: str


Operation = AddFile | DeleteFile | DeleteFolder


@dataclass(frozen=True, slots=True)
class Live:
    """What is at a path now. `own`: an entry of the branch itself, not one that shows through from its base."""

    sha256: str
    size: int
    is_lfs: bool
    own: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one path: new content, or none."""

    path: str
    add: AddFile | None
    before: Live | None


def plan(operations: Iterable[Operation], live: Mapping[str, Live]) -> list[Change]:
    """The changes, one for each path, last operation first in line; what changes nothing is left out.

    Raises:
        EntryNotFoundError: a file to delete is not there.
    """
    wanted: dict[str, AddFile | None] = {}
    for operation in operations:
        match operation:
            case AddFile(path=path):
                wanted[path] = operation
            case DeleteFile(path=path):
                if path in live or wanted.get(path) is not None:
                    wanted[path] = None
                elif inside := _inside(path, {*live, *wanted}):  # clients also call a folder a file
                    wanted.update(dict.fromkeys(inside))
                else:
                    raise EntryNotFoundError(f"A file with this name doesn't exist: {path!r}.", path=path)
            case DeleteFolder(path=folder):
                inside = _inside(folder, {*live, *wanted})
                if not inside:
                    raise EntryNotFoundError(f"A folder with this name doesn't exist: {folder!r}.", path=folder)
                wanted.update(dict.fromkeys(inside))
    changes = (Change(path, add, live.get(path)) for path, add in sorted(wanted.items()))
    return [change for change in changes if not _is_idle(change)]


def _inside(folder: str, paths: Iterable[str]) -> list[str]:
    prefix = folder.rstrip("/") + "/"
    return [path for path in paths if path.startswith(prefix)]


def _is_idle(change: Change) -> bool:
    if change.add is None:
        return change.before is None
    before = change.before
    return before is not None and (before.sha256, before.is_lfs) == (change.add.sha256, change.add.is_lfs)


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What an import says of a version that was made elsewhere: see `handover`. None: as for any commit.

    `follows`: the number of the version that the changes are changes to; nought on an empty branch.
    """

    author: str
    at: datetime
    follows: int
    number: int | None = None
    commit_id: str | None = None
    lineage_follows: bool = False


def commit(
    *,
    repository: Repository,
    branch_name: str,
    operations: list[Operation],
    message: Message,
    actor: Actor,
    parent: str | None = None,
    seen: int | None = None,
    even_unchanged: bool = False,
    past: Past | None = None,
) -> Version | None:
    """Makes the version and returns it; the head as it was, when nothing changes.

    Args:
        repository: with its team.
        branch_name: an existing branch; `main` need not exist yet.
        operations: every path is checked here, whoever calls.
        message: a title and, perhaps, a body.
        actor: the author. The caller has checked the right to write.
        parent: the commit id the author believes to be the head, when they said so.
        seen: the head's number when the author's request began (0: an empty branch); newer changes can conflict.
        even_unchanged: whether a version is made when nothing changes, too.
        past: of a version that an import brings; its author and date are not the actor's.

    Raises:
        InvalidPathError, EntryNotFoundError, BlobMissingError, StaleParentError, RevisionNotFoundError.
        ConflictError: an imported number is not free.
    """
    check_operations(operations)
    with transaction.atomic():
        locked = lock_repository(repository.pk)
        _check_still_allowed(actor)
        branch = _branch_for_commit(locked, branch_name)
        tip = tip_of(branch)
        _check_parent(locked, tip, parent)
        if past is not None:
            _check_past(locked, tip, past)
        live = _live_at(branch, operations)
        changes = plan(operations, live)
        _check_shape(branch, tip, changes)
        if seen is not None and tip is not None:
            _check_not_overtaken(branch, seen, changes)
        if not changes and not even_unchanged:
            return tip
        blobs = _blobs_for(locked, changes)
        version = _new_version(locked, branch, tip, changes, blobs, message, actor, past)
        _write_entries(branch, version.number, changes, blobs)
        _record(actor, version, paths=len(changes), past=past)
        ref = branch.name if branch.name.startswith("refs/") else f"refs/heads/{branch.name}"
        moved = UpdatedRef(ref, tip.commit_id if tip else None, version.commit_id)
        announce(locked, Event("update", "repo.content", refs=[moved]))
        tell_after_commit(
            version,
            before=tip,
            paths=[change.path for change in changes],
            actor=actor,
            lineage_follows=past is not None and past.lineage_follows,
        )
    return version


def _record(actor: Actor, version: Version, *, paths: int, past: Past | None) -> None:
    detail = {"version": version.label, "branch": version.branch.name, "paths": paths}
    if past is None:
        audit.record(actor, "commit", version.repository.full_name, **detail)
    else:
        said = {"author": past.author, "made_at": past.at.isoformat()}
        audit.record(actor, "import version", version.repository.full_name, **detail, **said)


def tell_after_commit(
    version: Version, *, before: Version | None, paths: list[str], actor: Actor, lineage_follows: bool = False
) -> None:
    """Those above hear of the version once its transaction has ended well."""
    what = {"version": version, "before": before, "paths": paths, "actor": actor, "lineage_follows": lineage_follows}
    transaction.on_commit(lambda: committed.send_robust(Version, **what))


def check_operations(operations: list[Operation]) -> None:
    """Raises: InvalidPathError; InvalidInputError when a path is a file and a folder at once."""
    for operation in operations:
        path = operation.path.rstrip("/") if isinstance(operation, DeleteFolder) else operation.path
        check_file_path(path)
    added = {operation.path for operation in operations if isinstance(operation, AddFile)}
    for path in added:
        parents = path.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            if "/".join(parents[:depth]) in added:
                folder = "/".join(parents[:depth])
                raise InvalidInputError(f"{folder!r} cannot be a file and a folder in one commit.", path=folder)


def _branch_for_commit(repository: Repository, name: str) -> Branch:
    branch = find_branch(repository, name)
    if branch is not None:
        return branch
    if name != DEFAULT_REVISION:
        raise RevisionNotFoundError(f"{repository.full_name} has no branch {name!r} to commit to.", revision=name)
    return Branch.objects.create(repository=repository, name=name)


def _check_parent(repository: Repository, tip: Version | None, parent: str | None) -> None:
    head = tip.commit_id if tip else root_id(repository)
    if parent is not None and not head.startswith(parent.lower()):
        raise StaleParentError(
            f"{repository.full_name} has moved on: its head is {head[:12]}, not {parent[:12]}. Look at what changed, "
            "then commit again.",
            head=head,
        )


def _check_past(repository: Repository, tip: Version | None, past: Past) -> None:
    """Numbers only rise, and changes are changes to something. Raises: ConflictError, StaleParentError."""
    if past.number is not None and past.number <= repository.last_number:
        raise ConflictError(
            f"{repository.full_name} has counted its versions up to v{repository.last_number}; v{past.number} cannot "
            "be imported there any more. Import into another repository.",
            last=repository.last_number,
        )
    number = tip.number if tip else 0
    if number != past.follows:
        raise StaleParentError(
            f"{repository.full_name} ends with v{number} there, not with v{past.follows}; look again, then go on."
        )


def _check_still_allowed(actor: Actor) -> None:
    """A job's lease may have ended while its commit was on the way; the next attempt must not find it doubled."""
    if actor.scope is Scope.JOB and not TokenGrant.objects.filter(token_id=actor.token_id).exists():
        raise LeaseLostError("The job's lease has ended; this commit was not made.")


def _check_shape(branch: Branch, tip: Version | None, changes: list[Change]) -> None:
    """Nothing may be a file and a folder at once: nobody could lay that out on a disk. Raises: InvalidInputError."""
    added = [change.path for change in changes if change.add and change.before is None]
    if tip is None or not added:
        return
    gone = [change.path for change in changes if change.add is None]
    left = tree.entries_of(tree.branch_layers(branch)).exclude(path__in=gone[:SIZE])
    parents = {"/".join(path.split("/")[:depth]) for path in added for depth in range(1, path.count("/") + 1)}
    for batch in batches(sorted(parents)):
        if (file := left.filter(path__in=batch).first()) is not None:
            raise InvalidInputError(f"{file.path!r} is a file; nothing can lie below it.", path=file.path)
    for batch in batches(added, _RANGES):
        below = Q()
        for path in batch:
            below |= Q(path__gte=f"{path}/", path__lt=f"{path}0")
        if (inside := left.filter(below).first()) is not None:
            raise InvalidInputError(
                f"A folder with {inside.path!r} is there; it cannot become a file.", path=inside.path
            )


def _check_not_overtaken(branch: Branch, seen: int, changes: list[Change]) -> None:
    if branch.head is None or branch.head.number <= seen:
        return
    paths = [change.path for change in changes]
    for batch in batches(paths):
        touched = Entry.objects.filter(branch=branch, path__in=batch)
        newer = touched.filter(added_in__gt=seen) | touched.filter(removed_in__gt=seen)
        if (first := newer.first()) is not None:
            raise StaleParentError(
                f"Another commit has changed {first.path!r} meanwhile. Look at {branch.head.label}, then commit again.",
                path=first.path,
            )


def _live_at(branch: Branch, operations: list[Operation]) -> dict[str, Live]:
    entries = tree.entries_of(tree.branch_layers(branch))
    found: dict[str, Live] = {}
    paths = [operation.path for operation in operations if not isinstance(operation, DeleteFolder)]
    for batch in batches(paths):
        found |= _live(branch, entries.filter(path__in=batch))
    for batch in batches(_folders_to_delete(operations, found), _RANGES):
        below = Q()
        for folder in batch:
            below |= Q(path__gte=f"{folder}/", path__lt=f"{folder}0")
        found |= _live(branch, entries.filter(below))
    return found


def _folders_to_delete(operations: list[Operation], files: Mapping[str, Live]) -> list[str]:
    named = [operation.path for operation in operations if isinstance(operation, DeleteFolder)]
    meant = [operation.path for operation in operations if isinstance(operation, DeleteFile)]
    return [folder.rstrip("/") for folder in [*named, *(path for path in meant if path not in files)]]


def _live(branch: Branch, entries: Iterable[Entry]) -> dict[str, Live]:
    return {
        entry.path: Live(entry.blob.sha256, entry.blob.size, entry.is_lfs, entry.branch_id == branch.pk)
        for entry in entries
        if entry.blob is not None
    }


def _blobs_for(repository: Repository, changes: list[Change]) -> dict[str, Blob]:
    wanted = {change.add.sha256 for change in changes if change.add}
    blobs = held_blobs(repository.team, wanted)
    if missing := wanted - (blobs.keys() & keep_blobs(blobs)):
        path = next(change.path for change in changes if change.add and change.add.sha256 in missing)
        raise BlobMissingError(
            f"The content of {path!r} was never uploaded here; upload it, then commit.",
            path=path,
            missing=len(missing),
        )
    return blobs


def _new_version(
    repository: Repository,
    branch: Branch,
    tip: Version | None,
    changes: list[Change],
    blobs: Mapping[str, Blob],
    message: Message,
    actor: Actor,
    past: Past | None = None,
) -> Version:
    now = timezone.now()
    number = past.number if past and past.number else repository.last_number + 1
    author, at = (past.author, past.at) if past else (actor.name, now)
    files, size = _totals(tip, changes, blobs)
    commit_id = past.commit_id if past else None
    if commit_id is None or Version.objects.filter(commit_id=commit_id).exists():
        commit_id = _commit_id(repository, branch, tip, number, changes, message, author, at)
    version = Version.objects.create(
        repository=repository,
        branch=branch,
        number=number,
        commit_id=commit_id,
        parent=tip,
        author_id=None if past else actor.user_id or None,
        author_name=author,
        title=message.title[:MAX_TITLE] or "Commit",
        message=message.body,
        created_at=at,
        job=actor.subject_id("job"),
        file_count=files,
        total_size=size,
    )
    branch.head = version
    branch.save(update_fields=["head"])
    repository.last_number, repository.updated_at = number, now
    repository.save(update_fields=["last_number", "updated_at"])
    if branch.name == DEFAULT_REVISION:
        note_size(repository, size)
    return version


def write_version(
    repository: Repository, branch: Branch, entries: list[Entry], message: Message, actor: Actor
) -> Version:
    """The first version of a branch that stands on nothing, of what others have. The repository is locked already."""
    blobs = {entry.blob.sha256: entry.blob for entry in entries if entry.blob is not None}
    added = [AddFile(entry.path, entry.blob.sha256, entry.is_lfs) for entry in entries if entry.blob is not None]
    changes = [Change(add.path, add, None) for add in sorted(added, key=lambda add: add.path)]
    version = _new_version(repository, branch, None, changes, blobs, message, actor)
    _write_entries(branch, version.number, changes, blobs)
    return version


def _totals(tip: Version | None, changes: list[Change], blobs: Mapping[str, Blob]) -> tuple[int, int]:
    files, size = (tip.file_count, tip.total_size) if tip else (0, 0)
    for change in changes:
        files += (change.add is not None) - (change.before is not None)
        size += blobs[change.add.sha256].size if change.add else 0
        size -= change.before.size if change.before else 0
    return files, size


def _commit_id(
    repository: Repository,
    branch: Branch,
    tip: Version | None,
    number: int,
    changes: list[Change],
    message: Message,
    author: str,
    at: datetime,
) -> str:
    """Names the version by its content and its history: parent, changes, author, words and moment."""
    return record_id(
        {
            "repository": str(repository.pk),
            "branch": branch.name,
            "number": number,
            "parent": tip.commit_id if tip else None,
            "changes": [[change.path, change.add.sha256 if change.add else None] for change in changes],
            "author": author,
            "message": [message.title, message.body],
            "at": at.isoformat(),
        }
    )


def _write_entries(branch: Branch, number: int, changes: list[Change], blobs: Mapping[str, Blob]) -> None:
    paths = [change.path for change in changes]
    for batch in batches(paths):
        live = Entry.objects.filter(branch=branch, path__in=batch, removed_in=None)
        live.update(removed_in=number)
    Entry.objects.bulk_create(
        (
            Entry(
                branch=branch,
                path=change.path,
                blob=blobs[change.add.sha256] if change.add else None,
                is_lfs=change.add.is_lfs if change.add else False,
                added_in=number,
            )
            for change in changes
            # Deleting the branch's own file only closes its interval; hiding the base's takes a tombstone.
            if change.add is not None or _shows_through(branch, change)
        ),
        batch_size=SIZE,
    )


def _shows_through(branch: Branch, change: Change) -> bool:
    return branch.base_id is not None and branch.sees_base and change.before is not None


def versions_of_job(job: UUID) -> list[Version]:
    """What a job's token has committed, so that a second attempt does not commit it again."""
    related = ("repository__team", "branch")
    there = Version.objects.filter(job=job, repository__is_trashed=False)
    return list(there.select_related(*related).order_by("number"))
