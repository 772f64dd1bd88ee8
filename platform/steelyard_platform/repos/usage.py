"""What repositories take up: their files as their readers see them, and the bytes that are stored for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import BigIntegerField, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from steelyard_platform.accounts.models import Team
from steelyard_platform.repos.models import Blob, Entry, Repository
from steelyard_platform.storage.models import FileXorb, Xorb

Row = TypeVar("Row", Repository, Team)


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
    totals = (rows.aggregate(total=Sum("size"))["total"] or 0 for rows in _parts(repository__in=repositories))
    logical, whole, chunked = totals
    return Usage(logical=logical, stored=whole + chunked)


def usage_by_repository(repositories: QuerySet[Repository]) -> list[tuple[Repository, Usage]]:
    """One query for a page of repositories."""
    return _annotated(repositories, repository=OuterRef(OuterRef("pk")))


def usage_by_team(teams: QuerySet[Team], visible: QuerySet[Repository]) -> list[tuple[Team, Usage]]:
    """One query for a page of teams, over their repositories among `visible`."""
    return _annotated(teams, repository__team=OuterRef(OuterRef("pk")), repository__in=visible.values("pk"))


def _parts(**branches: Any) -> tuple[QuerySet[Blob], QuerySet[Blob], QuerySet[Xorb]]:
    """Rows whose sizes add up to: what readers see, what is stored whole, what is stored by chunks."""
    entries = Entry.objects.filter(**{f"branch__{condition}": value for condition, value in branches.items()})
    in_files = {f"file__blobs__entries__branch__{condition}": value for condition, value in branches.items()}
    return (
        Blob.objects.filter(entries__in=entries.values("pk")),
        Blob.objects.filter(pk__in=entries.exclude(blob=None).values("blob"), xet=None),
        Xorb.objects.filter(pk__in=FileXorb.objects.filter(**in_files).values("xorb")),
    )


def _annotated(rows: QuerySet[Row], **branches: Any) -> list[tuple[Row, Usage]]:
    """`branches` refers to the row, two levels out."""
    logical, whole, chunked = (_total(part) for part in _parts(**branches))
    found: QuerySet[Any] = rows.annotate(logical=logical, whole=whole, chunked=chunked)
    return [(row, Usage(logical=row.logical, stored=row.whole + row.chunked)) for row in found]


def _total(rows: QuerySet[Blob] | QuerySet[Xorb]) -> Coalesce:
    """The sum of the sizes, as one value of a surrounding query."""
    summed = rows.order_by().annotate(all=Value(1)).values("all").annotate(total=Sum("size")).values("total")
    return Coalesce(Subquery(summed), 0, output_field=BigIntegerField())
