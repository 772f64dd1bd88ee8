"""Garbage collection: what no version of any repository holds is freed, once it has been so for a while.

    collect_garbage(grace, dry_run=True)    says what would go

Deleting a branch or a repository touches its blobs (`touch_blobs_of`), and so does every upload that builds on what is
there; nothing that was touched within the grace period goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.utils import timezone

from steelyard_platform.repos.models import Blob, Entry
from steelyard_platform.storage import garbage
from steelyard_platform.storage.batches import pages_of_keys
from steelyard_platform.storage.garbage import Freed
from steelyard_platform.storage.models import XetFile
from steelyard_platform.storage.services import object_store


@dataclass(slots=True)
class Collection:
    """What went, or would go. Blobs are files; objects are what the store holds."""

    blobs: int = 0
    objects: Freed = field(default_factory=Freed)
    uploads: Freed = field(default_factory=Freed)

    def __str__(self) -> str:
        return (
            f"{self.blobs} files that no version holds; {self.objects.objects} objects, {self.objects.bytes} bytes; "
            f"{self.uploads.objects} abandoned uploads, {self.uploads.bytes} bytes"
        )


def touch_blobs_of(entries: QuerySet[Entry]) -> None:
    """What is about to lose a reference starts its grace period now."""
    Blob.objects.filter(pk__in=entries.exclude(blob=None).values("blob")).update(touched_at=timezone.now())


def collect_garbage(grace: timedelta, *, dry_run: bool = False) -> Collection:
    """Safe to run at any time and to interrupt."""
    before = timezone.now() - grace
    return _foresee(before) if dry_run else _collect(before)


def _unreferenced(before: datetime) -> QuerySet[Blob]:
    return Blob.objects.filter(~Exists(Entry.objects.filter(blob=OuterRef("pk"))), touched_at__lt=before)


def _unneeded_files(before: datetime, dying: QuerySet[Blob]) -> QuerySet[XetFile]:
    needed = Blob.objects.filter(xet=OuterRef("pk")).exclude(pk__in=dying)
    return XetFile.objects.filter(~Exists(needed), touched_at__lt=before)


def _foresee(before: datetime) -> Collection:
    found = Collection()
    dying = _unreferenced(before)
    found.blobs = dying.count()
    # A pack goes when its last slice does.
    alive = Blob.objects.filter(object_key=OuterRef("object_key")).exclude(pk__in=dying)
    lone = dying.exclude(object_key="").filter(~Exists(alive))
    found.objects.objects = lone.values("object_key").distinct().count()
    found.objects.bytes = lone.aggregate(total=Sum("size"))["total"] or 0
    xorbs = garbage.unreferenced_xorbs(before, _unneeded_files(before, dying))
    found.objects.objects += xorbs.count()
    found.objects.bytes += xorbs.aggregate(total=Sum("size"))["total"] or 0
    for _, size in garbage.abandoned_uploads(before):
        found.uploads.add(size)
    return found


def _collect(before: datetime) -> Collection:
    found = Collection()
    for page in pages_of_keys(_unreferenced(before)):
        found.blobs += _drop_blobs(page, before)
    for page in pages_of_keys(_unneeded_files(before, Blob.objects.none())):
        _drop_files(page, before)
    garbage.collect_xorbs(before)
    garbage.sweep(found.objects)
    for key, size in list(garbage.abandoned_uploads(before)):
        object_store().delete(key)
        found.uploads.add(size)
    garbage.forget_reports(timezone.now())
    return found


@transaction.atomic
def _drop_blobs(digests: list[str], before: datetime) -> int:
    locked = Blob.objects.select_for_update().filter(pk__in=digests, touched_at__lt=before).order_by("pk")
    free = [blob for blob in locked if not blob.entries.exists()]
    Blob.objects.filter(pk__in=[blob.pk for blob in free]).delete()
    sizes: dict[str, int] = {}
    for blob in free:
        if blob.object_key:
            sizes[blob.object_key] = sizes.get(blob.object_key, 0) + blob.size
    # Slices of a pack that is still needed stay where they are.
    needed = set(Blob.objects.filter(object_key__in=list(sizes)).values_list("object_key", flat=True))
    garbage.doom((key, size) for key, size in sizes.items() if key not in needed)
    return len(free)


@transaction.atomic
def _drop_files(digests: list[str], before: datetime) -> None:
    locked = XetFile.objects.select_for_update().filter(pk__in=digests, touched_at__lt=before).order_by("pk")
    free = [file.pk for file in locked.defer("terms") if not Blob.objects.filter(xet=file).exists()]
    XetFile.objects.filter(pk__in=free).delete()
