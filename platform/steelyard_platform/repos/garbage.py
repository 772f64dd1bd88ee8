"""Garbage collection: what no version of any repository holds is freed, once it has been so for a while.

    collect_garbage(grace, dry_run=True)    says what would go
    keep_blobs_of(RunFile)                  an app above holds files outside of versions

Deleting a branch or a repository touches its blobs (`touch_blobs_of`), and so does every upload that builds on what is
there; nothing that was touched within the grace period goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from steelyard_platform.repos.blobs import PACKS, WHOLE_FILES
from steelyard_platform.repos.models import Blob, Entry
from steelyard_platform.storage import garbage
from steelyard_platform.storage.batches import batches, pages_of_keys
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


def collect_garbage(grace: timedelta, *, dry_run: bool = False, unknown: bool = False) -> Collection:
    """Safe to run at any time and to interrupt.

    Args:
        grace: How long a thing must have been unneeded.
        dry_run: Only says what would go.
        unknown: Also objects that no row speaks of, which processes leave that are killed. Not done unasked: beside a
            database that was lost, or that shares its bucket with another's, they are somebody's weights.
    """
    before = timezone.now() - grace
    prefixes = tuple(_ROWS) if unknown else ()
    return _foresee(before, prefixes) if dry_run else _collect(before, prefixes)


def _known_objects(keys: Iterable[str]) -> set[str]:
    return set(Blob.objects.filter(object_key__in=list(keys)).values_list("object_key", flat=True))


# What keeps a blob: entries of versions, and what the layers above hold outside of versions.
_KEEPERS: list[type[Model]] = [Entry]
# Where objects lie that have rows, and who knows them.
_ROWS: Mapping[str, garbage.Known] = {
    WHOLE_FILES: _known_objects,
    PACKS: _known_objects,
    garbage.XORBS: garbage.known_xorbs,
}


def keep_blobs_of(model: type[Model]) -> None:
    """Rows of the model, which refers to a `blob`, keep it as entries do. Called when the app starts that knows it."""
    if model not in _KEEPERS:
        _KEEPERS.append(model)


def _is_kept() -> Q:
    """Whether a row keeps the blob that a query looks at."""
    condition = Q()
    for model in _KEEPERS:
        condition |= Q(Exists(model._default_manager.filter(blob=OuterRef("pk"))))  # noqa: SLF001 - Django documents it
    return condition


def _unreferenced(before: datetime) -> QuerySet[Blob]:
    return Blob.objects.filter(~_is_kept(), touched_at__lt=before)


def _unneeded_files(before: datetime, dying: QuerySet[Blob]) -> QuerySet[XetFile]:
    needed = Blob.objects.filter(xet=OuterRef("pk")).exclude(pk__in=dying)
    return XetFile.objects.filter(~Exists(needed), touched_at__lt=before)


def freed_by(entries: QuerySet[Entry]) -> int:
    """Bytes that only these entries need: what goes from the store in the end when they do. A few queries in all."""
    others = Entry.objects.filter(blob=OuterRef("pk")).exclude(pk__in=entries.order_by().values("pk"))
    dying = Blob.objects.filter(~Exists(others), pk__in=entries.exclude(blob=None).order_by().values("blob"))
    for model in _KEEPERS[1:]:
        dying = dying.exclude(Exists(model._default_manager.filter(blob=OuterRef("pk"))))  # noqa: SLF001 - as above
    xorbs = garbage.xorbs_only_in(XetFile.objects.filter(blobs__in=dying))
    parts = (_lone_slices(dying), xorbs)
    return sum(part.aggregate(total=Sum("size"))["total"] or 0 for part in parts)


def _lone_slices(dying: QuerySet[Blob]) -> QuerySet[Blob]:
    """Of the blobs that are objects, or slices of one: those whose object nothing else needs."""
    alive = Blob.objects.filter(object_key=OuterRef("object_key")).exclude(pk__in=dying)
    return dying.exclude(object_key="").filter(~Exists(alive))


def _foresee(before: datetime, prefixes: Iterable[str]) -> Collection:
    found = Collection()
    dying = _unreferenced(before)
    found.blobs = dying.count()
    # A pack goes when its last slice does.
    lone = _lone_slices(dying)
    found.objects.objects = lone.values("object_key").distinct().count()
    found.objects.bytes = lone.aggregate(total=Sum("size"))["total"] or 0
    xorbs = garbage.unreferenced_xorbs(before, _unneeded_files(before, dying))
    found.objects.objects += xorbs.count()
    found.objects.bytes += xorbs.aggregate(total=Sum("size"))["total"] or 0
    for prefix in prefixes:
        for batch in batches(garbage.untouched(prefix, before)):
            known = _ROWS[prefix](info.key for info in batch)
            for info in batch:
                if info.key not in known:
                    found.objects.add(info.size)
    sizes = [info.size for info in garbage.abandoned_uploads(before)]
    sizes += [fragment.size for fragment in garbage.fragments(before)]
    for size in sizes:
        found.uploads.add(size)
    return found


def _collect(before: datetime, prefixes: Iterable[str]) -> Collection:
    found = Collection()
    for page in pages_of_keys(_unreferenced(before)):
        found.blobs += _drop_blobs(page, before)
    for page in pages_of_keys(_unneeded_files(before, Blob.objects.none())):
        _drop_files(page, before)
    garbage.collect_xorbs(before)
    for prefix in prefixes:
        garbage.doom_unknown(garbage.untouched(prefix, before), _ROWS[prefix])
    garbage.sweep(found.objects)
    _drop_uploads(before, found.uploads)
    garbage.forget_reports(timezone.now())
    return found


def _drop_uploads(before: datetime, freed: Freed) -> None:
    for info in list(garbage.abandoned_uploads(before)):
        object_store().delete(info.key)
        freed.add(info.size)
    for fragment in list(garbage.fragments(before)):
        object_store().drop_fragment(fragment)
        freed.add(fragment.size)


@transaction.atomic
def _drop_blobs(digests: list[str], before: datetime) -> int:
    # Locked before it is read who keeps them: a commit touches its blobs first, so that none can begin in between.
    locked = list(Blob.objects.select_for_update().filter(pk__in=digests, touched_at__lt=before).order_by("pk"))
    kept = set(Blob.objects.filter(_is_kept(), pk__in=digests).values_list("pk", flat=True))
    free = [blob for blob in locked if blob.pk not in kept]
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
    old = XetFile.objects.select_for_update().filter(pk__in=digests, touched_at__lt=before)
    locked = list(old.order_by("pk").values_list("pk", flat=True))
    needed = set(Blob.objects.filter(xet__in=locked).values_list("xet", flat=True))
    XetFile.objects.filter(pk__in=set(locked) - needed).delete()
