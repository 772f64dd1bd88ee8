"""What repositories take up: their files as their readers see them, and the bytes that are stored for them."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet, Sum

from steelyard_platform.repos.models import Blob, Entry, Repository
from steelyard_platform.storage.models import Xorb


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes. `logical`: each file once for each version that brought it. `stored`: each stored byte once."""

    logical: int
    stored: int

    @property
    def ratio(self) -> float | None:
        """How many times smaller the stored bytes are; None while nothing is stored."""
        return self.logical / self.stored if self.stored else None


def usage_of(repositories: QuerySet[Repository]) -> Usage:
    """Three queries, whatever there is. A xorb of which one chunk is used counts whole."""
    entries = Entry.objects.filter(branch__repository__in=repositories, blob__isnull=False)
    blobs = Blob.objects.filter(pk__in=entries.values("blob"))
    xorbs = Xorb.objects.filter(files__file__in=blobs.exclude(xet=None).values("xet")).distinct()
    whole = blobs.filter(xet=None).aggregate(total=Sum("size"))["total"] or 0
    chunked = Xorb.objects.filter(pk__in=xorbs.values("pk")).aggregate(total=Sum("size"))["total"] or 0
    return Usage(logical=entries.aggregate(total=Sum("blob__size"))["total"] or 0, stored=whole + chunked)
