"""The trash: what was deleted is kept for a while, out of everybody's sight, and can be brought back.

What is in the trash hangs on a repository that `Repository.objects` does not know. A whole repository is only marked;
a version or a branch moves to a hidden repository beside its own (`trash_of`). So nothing that looks things up through
a repository has to think of the trash, and what garbage collection spares is what an entry names, wherever it hangs.

    keep_version, keep_branch, keep_repository     called by `services.delete_…`, under the repository's lock
    visible_items, find_item                       what is there; `restoring` brings it back, or empties it
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.utils import timezone

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_contracts.words import count_in_words, size_in_words
from steelyard_platform.accounts.permissions import Action, Actor, Resource, Scope, may
from steelyard_platform.repos import tree
from steelyard_platform.repos.garbage import freed_by, touch_blobs_of
from steelyard_platform.repos.grafting import only_in, put_in, take_out
from steelyard_platform.repos.models import Branch, Entry, Repository, TrashedAs, TrashItem, Version

# --- into the trash ------------------------------------------------------------------------------


def keep_version(repository: Repository, version: Version, actor: Actor) -> TrashItem:
    """The branch goes on without the version. Costs as much as the version has files."""
    hidden, origin = _hidden(repository), version.branch
    line, _ = Branch.objects.get_or_create(repository=hidden, name=DEFAULT_REVISION)
    touch_blobs_of(only_in(version))
    put_in(version, line, list(tree.entries_at(version)))
    take_out(version)
    Version.objects.filter(pk=version.pk).update(repository=hidden, branch=line)
    return TrashItem.objects.create(
        what=TrashedAs.VERSION,
        repository=repository,
        version=version,
        came_from=origin,
        branch_name=origin.name,
        size=version.total_size,
        deleted_by=actor.name,
    )


def keep_branch(repository: Repository, branch: Branch, actor: Actor) -> TrashItem | None:
    """The branch as it is, with its versions; its name is free again. None for one that has no versions."""
    entries, versions = Entry.objects.filter(branch=branch), Version.objects.filter(branch=branch)
    if not (count := versions.count()):
        branch.delete()
        return None
    touch_blobs_of(entries)
    name, base, hidden = branch.name, branch.base, _hidden(repository)
    # Whoever asks which branches stand on the base asks for no repository: the item alone remembers it.
    Branch.objects.filter(pk=branch.pk).update(repository=hidden, name=f"deleted/{branch.pk}", base=None)
    versions.update(repository=hidden)
    return TrashItem.objects.create(
        what=TrashedAs.BRANCH,
        repository=repository,
        branch=branch,
        branch_name=name,
        base=base,
        versions=count,
        size=_size_of(entries),
        deleted_by=actor.name,
    )


def keep_repository(repository: Repository, actor: Actor) -> TrashItem:
    """Everything stays as it is, where nobody sees it; its name is free again."""
    entries = Entry.objects.filter(branch__repository=repository)
    touch_blobs_of(entries)
    Repository.objects.filter(pk=repository.pk).update(is_trashed=True)
    return TrashItem.objects.create(
        what=TrashedAs.REPOSITORY,
        repository=repository,
        versions=Version.objects.filter(repository=repository).count(),
        size=_size_of(entries),
        deleted_by=actor.name,
    )


def _hidden(repository: Repository) -> Repository:
    """Where the repository's deleted parts hang. The repository is locked already."""
    found = Repository.everything.filter(trash_of=repository).first()
    return found or Repository.everything.create(
        team=repository.team,
        name=repository.name,
        kind=repository.kind,
        is_trashed=True,
        trash_of=repository,
        updated_at=timezone.now(),
    )


def _size_of(entries: QuerySet[Entry]) -> int:
    return entries.aggregate(total=Sum("blob__size"))["total"] or 0


# --- looking into it -----------------------------------------------------------------------------


def visible_trash(actor: Actor) -> QuerySet[Repository]:
    """What the actor may know of the trash: that of the teams in which they may write."""
    everything = Repository.everything.filter(is_trashed=True)
    if actor.is_superuser and actor.scope in {Scope.ADMIN, Scope.SESSION}:
        return everything
    writing = [team for team in actor.roles if may(actor, Action.WRITE, Resource(team_id=team, label=""))]
    return everything.filter(team__in=writing)


def visible_items(actor: Actor) -> QuerySet[TrashItem]:
    """The same as things that can be brought back."""
    teams = visible_trash(actor).values("team")
    return TrashItem.objects.filter(repository__team__in=teams).select_related("repository__team", "version")


def held_by_trash(trashed: QuerySet[Repository]) -> int:
    """Bytes that are stored for this part of the trash alone."""
    return freed_by(Entry.objects.filter(branch__repository__in=trashed.values("pk")))


def in_words() -> str | None:
    """What is in the trash of the whole installation; None when nothing is."""
    first = TrashItem.objects.order_by("deleted_at").first()
    if first is None:
        return None
    things = count_in_words(TrashItem.objects.count(), "thing")
    size = size_in_words(held_by_trash(Repository.everything.filter(is_trashed=True)))
    return f"in the trash: {things}, {size} stored for it alone; the first goes on {due_at(first):%Y-%m-%d %H:%M} UTC"


def find_item(actor: Actor, number: int) -> TrashItem:
    """Raises: NotFoundError, also for what the actor may not know of."""
    found = visible_items(actor).filter(pk=number).first()
    if found is None:
        raise NotFoundError(f"There is no {number} in the trash, or you may not see it.", item=number)
    return found


def may_restore(actor: Actor, item: TrashItem) -> bool:
    """Whoever may delete such a thing."""
    return may(actor, right_to_restore(item), item.repository.resource)


def may_empty(actor: Actor, item: TrashItem) -> bool:
    return may(actor, Action.MANAGE, item.repository.resource)


def right_to_restore(item: TrashItem) -> Action:
    return Action.WRITE if item.what == TrashedAs.BRANCH else Action.MANAGE


def kept_for() -> timedelta:
    return timedelta(days=settings.ENVIRONMENT.trash_days)


def due_at(item: TrashItem) -> datetime:
    return item.deleted_at + kept_for()
