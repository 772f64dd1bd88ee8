"""Taking a version out of a branch, and putting one into a branch, wherever in its line it stands.

Entries are intervals over a branch's versions (see `models`). Both operations write only what differs from the
neighbours, and leave every other version's files as they are.

    take_out(version)                      before it is moved, or deleted
    put_in(version, branch, entries)       before its row names the branch; its number must be free there
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Branch, Entry, Version
from steelyard_platform.storage.batches import SIZE, batches

_NO_END = 2**31 - 1
# A blob's key, or none for a place where nothing is; and whether it is a large file.
Content = tuple[str | None, bool]


def following_on(branch: Branch, number: int) -> Version | None:
    return Version.objects.filter(branch=branch, number__gt=number).order_by("number").first()


def preceding_on(branch: Branch, number: int) -> Version | None:
    return Version.objects.filter(branch=branch, number__lt=number).order_by("-number").first()


def only_in(version: Version) -> QuerySet[Entry]:
    """What lives in this version of its branch and in no other."""
    following = following_on(version.branch, version.number)
    return Entry.objects.filter(
        branch=version.branch, added_in=version.number, removed_in=following.number if following else None
    )


def only_in_any_of(versions: QuerySet[Version]) -> QuerySet[Entry]:
    """What lives in these versions of their branches and in no other."""
    doomed = versions.order_by()
    others = Version.objects.filter(branch=OuterRef("branch"), number__gte=OuterRef("added_in"))
    others = others.filter(number__lt=Coalesce(OuterRef("removed_in"), _NO_END)).exclude(pk__in=doomed.values("pk"))
    return Entry.objects.filter(~Exists(others), branch__in=doomed.values("branch"))


def take_out(version: Version) -> None:
    """What lived only in it goes; what it brought begins with its successor, and what it ended ends there."""
    branch, number = version.branch, version.number
    following = following_on(branch, number)
    only_in(version).delete()
    entries = Entry.objects.filter(branch=branch)
    if following is not None:
        entries.filter(added_in=number).update(added_in=following.number)
    entries.filter(removed_in=number).update(removed_in=following.number if following else None)
    if following is None:
        Branch.objects.filter(pk=branch.pk).update(head=preceding_on(branch, number))
    version.refresh_from_db(fields=["parent"])  # another one may have been taken out since it was read
    version.children.update(parent=version.parent_id)


def put_in(version: Version, branch: Branch, entries: Iterable[Entry]) -> None:
    """Gives the branch this version's files, which are `entries`, at its number."""
    number = version.number
    following = following_on(branch, number)
    until = following.number if following else None
    wanted = _own_content(branch, {entry.path: (entry.blob_id, entry.is_lfs) for entry in entries})
    alive = Q(added_in__lt=number) & (Q(removed_in=None) | Q(removed_in__gt=number))
    there = {entry.path: entry for entry in Entry.objects.filter(branch=branch).filter(alive)}
    ended = {path: entry for path, entry in there.items() if wanted.get(path) != _content(entry)}
    missing = {path: it for path, it in wanted.items() if path not in there or path in ended}
    begun = _begun_in(branch, until, missing)
    for batch in batches(entry.pk for entry in ended.values()):
        Entry.objects.filter(pk__in=batch).update(removed_in=number)
    for batch in batches(begun.values()):
        Entry.objects.filter(pk__in=batch).update(added_in=number)
    new = [_entry(branch, path, it, number, until) for path, it in missing.items() if path not in begun]
    if until is not None:  # what went on past the version goes on behind it
        on = [entry for entry in ended.values() if entry.removed_in is None or entry.removed_in > until]
        new += [_entry(branch, entry.path, _content(entry), until, entry.removed_in) for entry in on]
    Entry.objects.bulk_create(new, batch_size=SIZE)
    if following is None:
        Branch.objects.filter(pk=branch.pk).update(head=version)


def _own_content(branch: Branch, files: dict[str, Content]) -> dict[str, Content]:
    """What the branch's own entries must say: what differs from its base, with a tombstone for what is gone."""
    if branch.base is None or not branch.sees_base:
        return files
    base = {entry.path: _content(entry) for entry in tree.entries_at(branch.base)}
    own: dict[str, Content] = {path: it for path, it in files.items() if base.get(path) != it}
    return own | dict.fromkeys(base.keys() - files.keys(), (None, False))


def _begun_in(branch: Branch, number: int | None, wanted: dict[str, Content]) -> dict[str, int]:
    """By path, the entries that begin with that version and hold what is wanted: they only begin earlier."""
    if number is None:
        return {}
    begun = Entry.objects.filter(branch=branch, added_in=number)
    return {entry.path: entry.pk for entry in begun if wanted.get(entry.path) == _content(entry)}


def _content(entry: Entry) -> Content:
    return entry.blob_id, entry.is_lfs


def _entry(branch: Branch, path: str, content: Content, added_in: int, removed_in: int | None) -> Entry:
    blob, is_lfs = content
    return Entry(branch=branch, path=path, blob_id=blob, is_lfs=is_lfs, added_in=added_in, removed_in=removed_in)
