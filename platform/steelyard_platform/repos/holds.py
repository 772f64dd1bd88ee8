"""What refers to versions, and so stands in the way of deleting them.

`repos` knows names and branches. What else may refer to a version (a release, a gate, the lineage of another) is known
to the layers above, and each of them registers a *holder* when its app starts:

    class ReleaseHolder:
        kind = "release"
        told = ALWAYS                      the deletions of which it is asked
        stops = ALWAYS                     those that it stands in the way of; of the others it is only told
        def held(self, repository): ...    which versions it refers to, as a condition: one query, whatever there is
        def find(self, doomed, actor): ... some of the holds on versions about to go, in words for this reader

Expiry takes nothing that any holder refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from django.db.models import Exists, OuterRef, Q, QuerySet

from steelyard_contracts.errors import ConflictError
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.models import Alias, Branch, Repository, Tag, Version

# Of each kind so many are named; that there are more is said.
MOST_NAMED = 20


class Extent(StrEnum):
    """How much a deletion takes."""

    VERSION = "version"
    BRANCH = "branch"
    REPOSITORY = "repository"


ALWAYS = frozenset(Extent)
# Names inside a repository go with it when all of it goes.
PARTS = frozenset({Extent.VERSION, Extent.BRANCH})
NEVER: frozenset[Extent] = frozenset()


@dataclass(frozen=True, slots=True)
class Doomed:
    """What is about to be deleted."""

    repository: Repository
    extent: Extent
    versions: QuerySet[Version]
    label: str  # lab/reader@v3
    branch: Branch | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One hold, as a holder finds it: what it is called, and the sentence that says so."""

    name: str
    version: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Hold:
    kind: str
    name: str
    version: str | None  # its label; None when it is the repository that is referred to
    sentence: str
    stops: bool  # whether the deletion is refused because of it


class Holder(Protocol):
    """One kind of thing that refers to versions."""

    kind: str
    told: frozenset[Extent]
    stops: frozenset[Extent]

    def held(self, repository: Repository) -> Q: ...

    def find(self, doomed: Doomed, actor: Actor) -> Iterable[Found]: ...


class AliasHolder:
    kind = "alias"
    told = stops = PARTS

    def held(self, repository: Repository) -> Q:  # noqa: ARG002 - the protocol's
        return Q(Exists(Alias.objects.filter(version=OuterRef("pk"))))

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:  # noqa: ARG002 - the protocol's
        rows = Alias.objects.filter(version__in=doomed.versions.values("pk")).select_related("version")
        for row in rows.order_by("name")[: MOST_NAMED + 1]:
            yield Found(row.name, row.version.label, f"the alias {row.name!r} stands on {row.version.label}")


class TagHolder:
    kind = "tag"
    told = stops = PARTS

    def held(self, repository: Repository) -> Q:  # noqa: ARG002 - the protocol's
        return Q(Exists(Tag.objects.filter(version=OuterRef("pk"))))

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:  # noqa: ARG002 - the protocol's
        rows = Tag.objects.filter(version__in=doomed.versions.values("pk")).select_related("version")
        for row in rows.order_by("name")[: MOST_NAMED + 1]:
            yield Found(row.name, row.version.label, f"the tag {row.name!r} stands on {row.version.label}")


class BranchHolder:
    """Branches that came from a version. Expiry also keeps what a branch is at now, and takes variants along."""

    kind = "branch"
    told = stops = PARTS

    def held(self, repository: Repository) -> Q:
        branches = Branch.objects.filter(repository=repository)
        shown = branches.filter(base=OuterRef("pk"), sees_base=True)
        own_head = branches.filter(head=OuterRef("pk")).exclude(base__isnull=False, sees_base=False)
        return Q(Exists(shown)) | Q(Exists(own_head))

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:  # noqa: ARG002 - the protocol's
        standing = Branch.objects.filter(repository=doomed.repository, base__in=doomed.versions.values("pk"))
        for row in standing.select_related("base").order_by("name")[: MOST_NAMED + 1]:
            assert row.base is not None  # noqa: S101 - the query asks for those that have one
            yield Found(row.name, row.base.label, f"the branch {row.name!r} stands on {row.base.label}")


_holders: list[Holder] = [AliasHolder(), TagHolder(), BranchHolder()]


def register(holder: Holder) -> None:
    """Called once for each kind, when the app starts that knows it."""
    if all(known.kind != holder.kind for known in _holders):
        _holders.append(holder)


def is_held(repository: Repository) -> Q:
    """The versions of the repository that anything refers to."""
    condition = Q()
    for holder in _holders:
        condition |= holder.held(repository)
    return condition


def holds_on(doomed: Doomed, actor: Actor) -> list[Hold]:
    """What refers to it, in words for this reader; one query for each kind."""
    asked = (holder for holder in _holders if doomed.extent in holder.told)
    return [hold for holder in asked for hold in _named(holder, doomed, actor)]


def _named(holder: Holder, doomed: Doomed, actor: Actor) -> Iterator[Hold]:
    stops = doomed.extent in holder.stops
    for number, found in enumerate(holder.find(doomed, actor)):
        if number == MOST_NAMED:
            yield Hold(holder.kind, "", None, f"and more of the kind {holder.kind!r}", stops)
            return
        yield Hold(holder.kind, found.name, found.version, found.sentence, stops)


def refuse_if_held(doomed: Doomed, actor: Actor) -> None:
    """Raises: ConflictError, with everything that stands in the way."""
    if (refusal := refusal_of(doomed, holds_on(doomed, actor))) is not None:
        raise refusal


def refusal_of(doomed: Doomed, holds: list[Hold]) -> ConflictError | None:
    stopping = [hold for hold in holds if hold.stops]
    if not stopping:
        return None
    reasons = "; ".join(hold.sentence for hold in stopping)
    return ConflictError(
        f"{doomed.label} cannot be deleted: {reasons}. Move or delete what stands in the way first.",
        holds=[{"kind": hold.kind, "name": hold.name, "version": hold.version} for hold in stopping],
    )
