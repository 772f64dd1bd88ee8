"""Bringing back what is in the trash, and emptying it: see `trash`.

    restore, empty     by people
    empty_due          by the clock

Each locks the repository first, and looks again whether the thing is still there: of two at once, one is told so.
"""

from __future__ import annotations

import logging

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, QuerySet
from django.utils import timezone

from steelyard_contracts.errors import AlreadyExistsError, ConflictError, NotFoundError, SteelyardError
from steelyard_contracts.names import check_reference_name, check_repository_name
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import PLATFORM, Action, Actor, demand
from steelyard_platform.repos import tree
from steelyard_platform.repos.grafting import following_on, preceding_on, put_in, take_out
from steelyard_platform.repos.models import Alias, Branch, FormerName, Repository, TrashItem, Version
from steelyard_platform.repos.revisions import find_branch, tip_of
from steelyard_platform.repos.search import rename_document
from steelyard_platform.repos.services import note_head, refuse_jobs
from steelyard_platform.repos.signals import versions_moved
from steelyard_platform.repos.trash import kept_for, right_to_restore
from steelyard_platform.repos.webhooks import Event, announce, announce_ref, ref_of

_log = logging.getLogger(__name__)
_AT_ONCE = 200


# --- back again ----------------------------------------------------------------------------------


@transaction.atomic
def restore(*, item: TrashItem, actor: Actor, name: str | None = None) -> str:
    """Brings it back, with its number, its id and all that was known of it; returns what it is called now.

    A version takes its place in the branch it came from, or gets a branch `restored/vN` where that is gone.

    Args:
        item: as looked up; it may be gone by now.
        actor: whoever may delete such a thing may restore it.
        name: for a repository or a branch whose name somebody has taken meanwhile.

    Raises:
        ForbiddenError, InvalidNameError, NotFoundError for what was emptied or restored meanwhile.
        AlreadyExistsError: its name is taken; say another.
        ConflictError: what it belongs to, or stands on, is in the trash itself.
    """
    refuse_jobs(actor)
    demand(actor, right_to_restore(item), item.repository.resource)
    item = _locked(item)
    label = item.label
    if item.branch is not None:
        what = _restore_branch(item, item.branch, name)
    elif item.version is not None:
        what = _restore_version(item, item.version)
    else:
        what = _restore_repository(item, name)
    audit.record(actor, "restore", item.repository.full_name, item=label, what=item.what, restored_as=what)
    TrashItem.objects.filter(pk=item.pk).delete()
    return what


def _locked(item: TrashItem) -> TrashItem:
    """The item under its repository's lock. Raises: NotFoundError when somebody was quicker."""
    rows = Repository.everything.select_for_update(of=("self",)).select_related("team")
    repository = rows.filter(pk=item.repository_id).first()
    related = ("version__branch", "branch", "base", "came_from")
    found = TrashItem.objects.select_related(*related).filter(pk=item.pk).first()
    if repository is None or found is None:
        raise NotFoundError("This is not in the trash any more: it was restored or emptied meanwhile.", item=item.pk)
    found.repository = repository
    return found


def _restore_repository(item: TrashItem, name: str | None) -> str:
    repository = item.repository
    repository.name = check_repository_name(name) if name else repository.name
    repository.is_trashed = False
    taken = AlreadyExistsError(
        f"There is a {repository.kind} {repository.full_name} again; say under which other name to restore this one.",
        name=repository.full_name,
    )
    same = Repository.objects.filter(team=repository.team, kind=repository.kind, name__iexact=repository.name)
    if same.exists():
        raise taken
    try:
        with transaction.atomic():
            repository.save(update_fields=["name", "is_trashed"])
    except IntegrityError as error:  # somebody was quicker by a moment
        raise taken from error
    Repository.everything.filter(trash_of=repository).update(name=repository.name)
    rename_document(repository)
    FormerName.objects.filter(kind=repository.kind, full_name__iexact=repository.full_name).delete()
    announce(repository, Event("create", "repo"))
    return repository.full_name


def _restore_branch(item: TrashItem, branch: Branch, name: str | None) -> str:
    repository = item.repository
    _check_there(item)
    if item.base is not None and item.base.repository_id != repository.pk:
        raise ConflictError(f"{item.base.label}, which {item.label} stands on, is in the trash; restore that first.")
    name = check_reference_name(name, "branch") if name else item.branch_name
    if find_branch(repository, name) or Alias.objects.filter(repository=repository, name=name).exists():
        raise AlreadyExistsError(
            f"{repository.full_name} has {name!r} again; say under which other name to restore the branch.", name=name
        )
    branch.repository, branch.name, branch.base = repository, name, item.base
    branch.save(update_fields=["repository", "name", "base"])
    Version.objects.filter(branch=branch).update(repository=repository, restored_at=timezone.now())
    announce_ref(repository, ref_of(name), after=tip_of(branch))
    versions_moved.send(Repository, repository=repository)
    return f"{repository.full_name}@{name}"


def _restore_version(item: TrashItem, version: Version) -> str:
    repository, branch = item.repository, item.came_from
    _check_there(item)
    if branch is None or branch.repository_id != repository.pk:
        branch, _ = Branch.objects.get_or_create(repository=repository, name=f"restored/{version.label}")
    before = tip_of(branch)
    put_in(version, branch, list(tree.entries_at(version)))
    take_out(version)
    parent = preceding_on(branch, version.number) or version.parent
    if parent is not None and parent.repository_id != repository.pk:
        parent = None  # it is in the trash, too
    changes = {"repository": repository, "branch": branch, "parent": parent, "restored_at": timezone.now()}
    Version.objects.filter(pk=version.pk).update(**changes)
    following = following_on(branch, version.number)
    if following is None:
        note_head(repository, branch, before=before, after=version)
    else:
        Version.objects.filter(pk=following.pk).update(parent=version)
    versions_moved.send(Repository, repository=repository)
    return f"{repository.full_name}@{version.label}"


def _check_there(item: TrashItem) -> None:
    """Raises: ConflictError."""
    if item.repository.is_trashed:
        raise ConflictError(f"{item.repository.full_name} is in the trash itself; restore that first.")


# --- away for good -------------------------------------------------------------------------------


@transaction.atomic
def empty(*, item: TrashItem, actor: Actor) -> None:
    """Deletes it for good; its bytes are freed when nothing else holds them and the grace period is over.

    Raises: ForbiddenError; NotFoundError for what was emptied or restored meanwhile; ConflictError while a branch that
        is in the trash too shows its files.
    """
    refuse_jobs(actor)
    demand(actor, Action.MANAGE, item.repository.resource)
    _drop(_locked(item), actor)


def empty_due() -> int:
    """What has been in the trash for long enough goes for good, some at a time. Returns how much that was."""
    count = 0
    due = TrashItem.objects.filter(deleted_at__lte=timezone.now() - kept_for()).select_related("repository__team")
    # The oldest first: a branch was deleted before what it stands on could be.
    for item in due.order_by("deleted_at", "pk")[:_AT_ONCE]:
        try:
            with transaction.atomic():
                _drop(_locked(item), PLATFORM)
        except SteelyardError as error:  # restored meanwhile, or needed by something that is not due yet
            _log.warning("a %s of %s stays in the trash for now: %s", item.what, item.repository, error)
        else:
            count += 1
    return count


def _drop(item: TrashItem, actor: Actor) -> None:
    audit.record(actor, "empty trash", item.repository.full_name, item=item.label, what=item.what)
    if item.branch is not None:
        _check_not_shown(item, TrashItem.objects.filter(base__branch=item.branch))
        item.branch.delete()
    elif item.version is not None:
        _check_not_shown(item, TrashItem.objects.filter(base=item.version))
        take_out(item.version)
        item.version.delete()
    else:
        _drop_repository(item.repository)


def _drop_repository(repository: Repository) -> None:
    Alias.objects.filter(repository=repository).delete()
    try:
        repository.delete()
    except ProtectedError as error:  # a release was made in the moment it was deleted
        raise ConflictError(f"{repository.full_name} was released to devices; what they run is kept.") from error


def _check_not_shown(item: TrashItem, standing: QuerySet[TrashItem]) -> None:
    if standing.filter(branch__sees_base=True).exists():
        raise ConflictError(f"A branch that is in the trash too shows the files of {item.label}; empty that first.")
