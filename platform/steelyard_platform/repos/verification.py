"""Checking everything that is stored, and saying which files of which repositories a damage touches."""

from __future__ import annotations

from collections.abc import Iterator

from steelyard_platform.repos.models import Blob, Entry
from steelyard_platform.storage.verification import Damage, Pace, Slice, Verification, verify_slices, verify_xorbs

_PAGE = 200


def verify_storage(pace: Pace, found: Verification) -> Iterator[None]:
    """Fills `found`; yields after each object, so that a caller can show progress or stop."""
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
    entries = Entry.objects.filter(blob__object_key=damage.key)
    if damage.key.startswith("xorbs/"):
        entries = Entry.objects.filter(blob__xet__xorbs__xorb=damage.key.rpartition("/")[2])
    rows = entries.select_related("branch__repository__team").distinct()[:limit]
    return [f"{entry.branch.repository.full_name}: {entry.path}" for entry in rows]
