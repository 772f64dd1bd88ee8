"""What a deletion would do, said before it is done: what refers to the thing, what stands in the way, what is freed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from steelyard_contracts.errors import ConflictError
from steelyard_contracts.words import count_in_words, size_in_words
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.repos.garbage import freed_by
from steelyard_platform.repos.grafting import only_in
from steelyard_platform.repos.holds import Doomed, Extent, Hold, holds_on, refusal_of
from steelyard_platform.repos.models import Branch, Entry, Repository, Version
from steelyard_platform.repos.trash import kept_for


def one_version(repository: Repository, version: Version) -> Doomed:
    return Doomed(
        repository, Extent.VERSION, Version.objects.filter(pk=version.pk), f"{repository.full_name}@{version.label}"
    )


def one_branch(repository: Repository, branch: Branch) -> Doomed:
    return Doomed(
        repository, Extent.BRANCH, Version.objects.filter(branch=branch), f"{repository.full_name}@{branch.name}"
    )


def all_of(repository: Repository) -> Doomed:
    return Doomed(repository, Extent.REPOSITORY, Version.objects.filter(repository=repository), repository.full_name)


@dataclass(frozen=True, slots=True)
class Outlook:
    """A deletion as its reader should see it before they decide."""

    label: str
    versions: int
    holds: list[Hold]
    refusal: ConflictError | None
    freed: int  # bytes, once the trash is emptied
    kept_until: datetime

    @property
    def lines(self) -> list[str]:
        """Sentences; the same on the page, in the API and in a terminal."""
        said = [hold.sentence for hold in self.holds if not hold.stops]
        told = [f"Also: {'; '.join(said)}."] if said else []
        if self.refusal is not None:
            return [self.refusal.message, *told]
        what = f"{self.label} ({count_in_words(self.versions, 'version')})"
        return [
            f"{what} goes to the trash, and can be restored until {self.kept_until:%Y-%m-%d}.",
            f"When the trash is emptied, {size_in_words(self.freed)} will be freed that nothing else needs.",
            *told,
        ]


def foresee_version(repository: Repository, version: Version, actor: Actor) -> Outlook:
    """Raises: ForbiddenError."""
    return _foresee(one_version(repository, version), only_in(version), actor)


def foresee_repository(repository: Repository, actor: Actor) -> Outlook:
    """Raises: ForbiddenError."""
    return _foresee(all_of(repository), Entry.objects.filter(branch__repository=repository), actor)


def _foresee(doomed: Doomed, entries: QuerySet[Entry], actor: Actor) -> Outlook:
    demand(actor, Action.MANAGE, doomed.repository.resource)
    holds = holds_on(doomed, actor)
    return Outlook(
        label=doomed.label,
        versions=doomed.versions.count(),
        holds=holds,
        refusal=refusal_of(doomed, holds),
        freed=freed_by(entries),
        kept_until=timezone.now() + kept_for(),
    )
