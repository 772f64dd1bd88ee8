"""Removing objects that nothing refers to, safely beside uploads that are just about to refer to them again.

An object goes in two steps. Its row is deleted and its key *doomed* in one transaction; then, under the lock of the
doomed key, the object is deleted. Whoever stores a key again calls `spare` in the transaction that makes its row: that
waits for such a deletion, takes the key off the list, and looks whether the object is still there. So a row never
stands without its object, and a process that dies in between leaves nothing but a key to try again.

A process that dies while it stores leaves half an object, or a whole one without a row: `fragments`, `doom_unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from steelyard_contracts.errors import UnavailableError
from steelyard_platform.storage.batches import batches, pages_of_keys
from steelyard_platform.storage.models import DoomedObject, FileXorb, TransferReport, XetFile, Xorb, xorb_key
from steelyard_platform.storage.objects import Fragment, ObjectInfo, ObjectMissingError
from steelyard_platform.storage.services import object_store

# What clients say of their transfers is of use for so long.
REPORTS_KEPT = timedelta(days=30)
# Uploads that were never committed wait here.
STAGING = "staging/"
XORBS = "xorbs/"

# Of these keys, those that a row speaks of.
Known = Callable[[Iterable[str]], set[str]]


@dataclass(slots=True)
class Freed:
    """What was removed, or would be."""

    objects: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.objects += 1
        self.bytes += size


def removed_meanwhile() -> UnavailableError:
    return UnavailableError("The object was being removed while it arrived; send it again.")


def spare(key: str) -> None:
    """To be called in the transaction that makes a row for the object at `key`. Raises: UnavailableError."""
    # Put there first: whoever dooms this key meanwhile waits for this transaction, and then sees its row.
    DoomedObject.objects.bulk_create([DoomedObject(key=key, size=0)], ignore_conflicts=True)
    DoomedObject.objects.filter(pk=key).delete()
    try:
        object_store().stat(key)  # under the lock on purpose: what it sees cannot be deleted any more
    except ObjectMissingError as error:
        raise removed_meanwhile() from error


def doom(objects: Iterable[tuple[str, int]], *, after: timedelta = timedelta()) -> None:
    """(key, size) of objects whose rows the same transaction deletes. They stay for `after`, for who reads them now."""
    due = timezone.now() + after
    rows = (DoomedObject(key=key, size=size, due_at=due) for key, size in objects)
    DoomedObject.objects.bulk_create(rows, ignore_conflicts=True)


def doom_unknown(found: Iterable[ObjectInfo], known: Known) -> None:
    """Dooms those of the objects that no row speaks of."""
    for batch in batches(found):
        sizes = {info.key: info.size for info in batch}
        if unknown := sizes.keys() - known(sizes):
            with transaction.atomic():
                doom((key, sizes[key]) for key in sorted(unknown))
                # Looked at once more, now that nobody can come to refer to them unseen.
                DoomedObject.objects.filter(pk__in=known(unknown)).delete()


def untouched(prefix: str, before: datetime) -> Iterator[ObjectInfo]:
    """Objects that were not written since."""
    return (info for info in object_store().list_objects(prefix) if info.modified < before)


def known_xorbs(keys: Iterable[str]) -> set[str]:
    digests = [key.rpartition("/")[2] for key in keys]
    return {xorb_key(digest) for digest in Xorb.objects.filter(pk__in=digests).values_list("pk", flat=True)}


def sweep(freed: Freed) -> None:
    """Deletes every doomed object that is due."""
    for keys in pages_of_keys(DoomedObject.objects.filter(due_at__lte=timezone.now())):
        for key in keys:
            _delete(key, freed)


@transaction.atomic
def _delete(key: str, freed: Freed) -> None:
    doomed = DoomedObject.objects.select_for_update().filter(pk=key).first()
    if doomed is None:
        return  # spared
    object_store().delete(key)  # under the lock, so that nobody can come to refer to it meanwhile
    doomed.delete()
    freed.add(doomed.size)


def unreferenced_xorbs(before: datetime, dying_files: QuerySet[XetFile]) -> QuerySet[Xorb]:
    """Xorbs that no file needs but those of `dying_files`, and that nobody has touched since `before`."""
    needed = FileXorb.objects.filter(xorb=OuterRef("pk")).exclude(file__in=dying_files)
    return Xorb.objects.filter(~Exists(needed), touched_at__lt=before)


def xorbs_only_in(files: QuerySet[XetFile]) -> QuerySet[Xorb]:
    """Xorbs that these files need and no other does."""
    keys = files.order_by().values("pk")
    others = FileXorb.objects.filter(xorb=OuterRef("pk")).exclude(file__in=keys)
    return Xorb.objects.filter(~Exists(others), pk__in=FileXorb.objects.filter(file__in=keys).values("xorb"))


def collect_xorbs(before: datetime) -> None:
    """Dooms the xorbs that no file needs."""
    for digests in pages_of_keys(unreferenced_xorbs(before, XetFile.objects.none())):
        with transaction.atomic():
            locked = Xorb.objects.select_for_update().filter(pk__in=digests, touched_at__lt=before).order_by("pk")
            held = list(locked.defer("layout"))
            needed = set(FileXorb.objects.filter(xorb__in=held).values_list("xorb", flat=True))
            free = [xorb for xorb in held if xorb.pk not in needed]
            doom((xorb.key, xorb.size) for xorb in free)
            Xorb.objects.filter(pk__in=[xorb.pk for xorb in free]).delete()


def forget_reports(now: datetime) -> None:
    TransferReport.objects.filter(at__lt=now - REPORTS_KEPT).delete()


def abandoned_uploads(before: datetime) -> Iterator[ObjectInfo]:
    """Staged uploads that nobody came back for."""
    return untouched(STAGING, before)


def fragments(before: datetime) -> Iterator[Fragment]:
    """What uploads have left that broke off."""
    return (fragment for fragment in object_store().fragments() if fragment.modified < before)
