"""Checking everything that is stored, and saying which files of which repositories a damage touches."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction
from django.db.models import QuerySet

from steelyard_platform.repos.models import Blob, BlobHolder, Entry
from steelyard_platform.storage.garbage import XORBS
from steelyard_platform.storage.verification import (
    Damage,
    Pace,
    Slice,
    Verification,
    forget_senders,
    verify_slices,
    verify_xorbs,
)

_PAGE = 200


def verify_storage(pace: Pace, found: Verification) -> Iterator[None]:
    """Fills `found`; yields after each object, so that a caller can show progress or stop."""
    told = 0
    for _ in _verify(pace, found):
        for damage in found.damaged[told:]:
            _ask_for(damage)
        told = len(found.damaged)
        yield


@transaction.atomic
def _ask_for(damage: Damage) -> None:
    """Counts as never sent, so that whoever pushes it again is asked to send it. Versions go on naming it."""
    BlobHolder.objects.filter(blob__in=_blobs_in(damage)).delete()
    if damage.key.startswith(XORBS):
        forget_senders(_digest(damage))


def _blobs_in(damage: Damage) -> QuerySet[Blob]:
    if damage.key.startswith(XORBS):
        return Blob.objects.filter(xet__xorbs__xorb=_digest(damage))
    return Blob.objects.filter(object_key=damage.key)


def _digest(damage: Damage) -> str:
    return damage.key.rpartition("/")[2]


def _verify(pace: Pace, found: Verification) -> Iterator[None]:
    yield from verify_xorbs(pace, found)
    after = ""
    while keys := _next_keys(after):
        for key in keys:
            verify_slices(key, _slices(key), pace, found)
            yield
        after = keys[-1]


def _next_keys(after: str) -> list[str]:
    rows = Blob.objects.filter(object_key__gt=after).order_by("object_key")
    return list(rows.values_list("object_key", flat=True).distinct()[:_PAGE])


def _slices(key: str) -> list[Slice]:
    rows = Blob.objects.filter(object_key=key).order_by("offset").values_list("sha256", "offset", "size")
    return [Slice(*row) for row in rows]


def touched_by(damage: Damage, limit: int = 10) -> list[str]:
    """`namespace/name: path` of files that need the object."""
    entries = Entry.objects.filter(blob__in=_blobs_in(damage))
    rows = entries.select_related("branch__repository__team").distinct()[:limit]
    return [f"{entry.branch.repository.full_name}: {entry.path}" for entry in rows]
