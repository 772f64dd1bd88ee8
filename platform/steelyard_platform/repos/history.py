"""Rewriting what was: a branch's history as one version, and large files out of every version.

Both are for whoever manages a repository, and both leave alone what something stands on: a version that has an alias,
a tag, a release, a measure or a branch is kept under its number and id, whatever becomes of its branch.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction
from django.db.models import Count, F, Min, Model, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.deletion import PROTECT
from django.db.models.functions import Coalesce

from steelyard_contracts.errors import ConflictError, RevisionNotFoundError
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.repos import commits, tree
from steelyard_platform.repos.garbage import touch_blobs_of
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Branch, Entry, Repository, TrashItem, Version
from steelyard_platform.repos.revisions import find_branch, tip_of
from steelyard_platform.repos.search import note_size
from steelyard_platform.repos.services import refuse_jobs
from steelyard_platform.repos.webhooks import Event, UpdatedRef, announce

# Where a branch goes whose versions are still needed. No list of branches shows it.
ARCHIVE = "refs/squashed/"


@transaction.atomic
def squash(*, repository: Repository, branch_name: str, message: commits.Message, actor: Actor) -> Version:
    """The branch as it is now becomes its only version. Costs as much as the branch has files.

    Raises: ForbiddenError, RevisionNotFoundError for a branch that is not there or has nothing.
    """
    refuse_jobs(actor)
    demand(actor, Action.MANAGE, repository.resource)
    locked = lock_repository(repository.pk)
    former = find_branch(locked, branch_name)
    tip = tip_of(former) if former else None
    if former is None or tip is None:
        raise RevisionNotFoundError(f"{locked.full_name} has no branch {branch_name!r} with anything on it.")
    entries = list(tree.entries_of(tree.branch_layers(former)))
    Branch.objects.filter(pk=former.pk).update(name=f"{ARCHIVE}{former.pk}")
    branch = Branch.objects.create(repository=locked, name=branch_name)
    version = commits.write_version(locked, branch, entries, message, actor)
    audit.record(actor, "squash", locked.full_name, branch=branch_name, version=version.label)
    announce(locked, Event("update", "repo.content", refs=[_moved(branch_name, tip, version)]))
    commits.tell_after_commit(version, before=tip, paths=[], actor=actor)
    if not _is_stood_on(former):
        touch_blobs_of(Entry.objects.filter(branch=former))
        former.delete()
    return version


def _moved(branch_name: str, before: Version, after: Version) -> UpdatedRef:
    ref = branch_name if branch_name.startswith("refs/") else f"refs/heads/{branch_name}"
    return UpdatedRef(ref, before.commit_id, after.commit_id)


def _is_stood_on(branch: Branch) -> bool:
    """Whether anything but the branch itself refers to one of its versions, in whatever app it lives."""
    for relation in Version._meta.related_objects:  # noqa: SLF001 - Django's own way to ask
        rows: QuerySet[Model] = relation.related_model._base_manager.filter(  # noqa: SLF001 - as above
            **{f"{relation.field.name}__branch": branch}
        )
        if relation.related_model is Branch:
            rows = rows.exclude(pk=branch.pk)
        elif relation.related_model is Version:
            rows = rows.exclude(branch=branch).exclude(repository__is_trashed=True)
        if rows.exists():
            return True
    return TrashItem.objects.filter(base__branch=branch, branch__sees_base=True).exists()


def large_files(repository: Repository) -> QuerySet[Entry]:
    """An entry for each content that any version has as a large file, in a stable order."""
    entries = _large(repository)
    first = entries.order_by().values("blob").annotate(first=Min("pk"))
    return entries.filter(pk__in=first.values("first")).select_related("branch", "blob").order_by("pk")


def _large(repository: Repository, *, hidden: bool = False) -> QuerySet[Entry]:
    """With `hidden`, also those of what was deleted from the repository and waits in the trash."""
    repositories = Q(pk=repository.pk) | (Q(trash_of=repository) if hidden else Q())
    where = Repository.everything.filter(repositories).values("pk")
    return Entry.objects.filter(branch__repository__in=where, is_lfs=True, blob__isnull=False)


@transaction.atomic
def forget_large_files(*, repository: Repository, digests: Collection[str], actor: Actor) -> int:
    """Takes these contents out of every version, as if nobody had ever pushed them. Returns how many places that were.

    Raises: ForbiddenError; ConflictError when one is in a version that an alias or a release stands on.
    """
    refuse_jobs(actor)
    demand(actor, Action.MANAGE, repository.resource)
    locked = lock_repository(repository.pk)
    doomed = _large(locked, hidden=True).filter(blob__in=digests)
    _check_not_needed(locked, doomed)
    first = doomed.aggregate(first=Min("added_in"))["first"]
    if first is None:
        return 0
    touch_blobs_of(doomed)
    _take_from_totals(locked, digests)
    # A place without content, and not none at all: what the branch came from must not show through there.
    count = doomed.update(blob=None, is_lfs=False)
    _measure_again(locked, first)
    main = find_branch(locked, DEFAULT_REVISION)
    if main is not None and main.head is not None:
        note_size(locked, main.head.total_size)
    audit.record(actor, "forget large files", locked.full_name, files=len(digests), places=count)
    return count


def _check_not_needed(repository: Repository, doomed: QuerySet[Entry]) -> None:
    """On another branch a file counts as seen whatever its numbers: rather one refusal too many than a release cut."""
    protecting = [one for one in Version._meta.related_objects if one.on_delete is PROTECT]  # noqa: SLF001 - as above
    for relation in protecting:
        name = f"{relation.field.related_query_name()}__isnull"
        for version in Version.objects.filter(repository=repository, **{name: False}).distinct():
            alive = Q(added_in__lte=version.number) & (Q(removed_in=None) | Q(removed_in__gt=version.number))
            elsewhere = Q(added_in__lte=version.number) & ~Q(branch=version.branch_id)
            if (entry := doomed.filter(alive | elsewhere).first()) is not None:
                raise ConflictError(
                    f"{entry.path!r} is in {version.label}, which an alias or a release stands on; move or delete that "
                    "first.",
                    path=entry.path,
                )


def _take_from_totals(repository: Repository, digests: Collection[str]) -> None:
    """On the branches that have the files themselves, by one statement."""
    lost = Entry.objects.filter(branch=OuterRef("branch"), is_lfs=True, blob__in=digests)
    lost = lost.filter(added_in__lte=OuterRef("number")).exclude(removed_in__lte=OuterRef("number"))
    by_branch = lost.order_by().values("branch")
    either = Q(repository=repository) | Q(repository__trash_of=repository)
    Version.objects.filter(either).update(
        file_count=F("file_count") - Coalesce(Subquery(by_branch.annotate(n=Count("pk")).values("n")), 0),
        total_size=F("total_size") - Coalesce(Subquery(by_branch.annotate(n=Sum("blob__size")).values("n")), 0),
    )


def _measure_again(repository: Repository, since: int) -> None:
    """Those that see another branch's files; there are few, and this is done once in a while."""
    seeing = Version.objects.filter(repository=repository, number__gte=since, branch__base__isnull=False)
    for version in seeing.filter(branch__sees_base=True).select_related("branch"):
        files, size = tree.measure(version)
        Version.objects.filter(pk=version.pk).update(file_count=files, total_size=size)
