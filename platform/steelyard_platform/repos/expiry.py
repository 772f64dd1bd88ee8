"""Expiry: versions that nothing refers to go to the trash by themselves, by a rule of their repository.

    keep the last 10, older than 30 days     the newest ten of each branch stay, and whatever is younger

Whatever anything refers to stays too (`holds`): an alias, a tag, a branch, a release, a device, a gate, a job, what was
made from it. So does what somebody took back from the trash. A variant has no place of its own in the count: it stays
and goes with the version it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError, NotFoundError, SteelyardError
from steelyard_contracts.words import count_in_words, size_in_words
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import PLATFORM, Action, Actor, demand
from steelyard_platform.repos.garbage import freed_by
from steelyard_platform.repos.grafting import only_in_any_of
from steelyard_platform.repos.holds import is_held
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Branch, ExpiryRule, Repository, Version
from steelyard_platform.repos.signals import versions_moved
from steelyard_platform.repos.trash import keep_branch, keep_version
from steelyard_platform.storage.batches import among

MOST_KEPT, MOST_DAYS = 100_000, 36_500
_AT_ONCE, _RULES_AT_ONCE = 100, 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule, kept or only tried."""

    keep_last: int
    older_than_days: int = 0


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a rule would take now."""

    versions: int
    variants: int
    freed: int  # bytes, in the end

    @property
    def sentence(self) -> str:
        if not self.versions:
            return "The rule would expire nothing now."
        variants = f" with {count_in_words(self.variants, 'variant')}" if self.variants else ""
        return (
            f"The rule would expire {count_in_words(self.versions, 'version')}{variants}, {size_in_words(self.freed)}."
        )


@transaction.atomic
def set_rule(*, repository: Repository, wanted: Wanted, actor: Actor) -> ExpiryRule:
    """Raises: ForbiddenError, InvalidInputError."""
    demand(actor, Action.MANAGE, repository.resource)
    _check(wanted)
    values = {"keep_last": wanted.keep_last, "older_than_days": wanted.older_than_days, "changed_by": actor.name}
    # Tried from the beginning again, soon.
    rule, _ = ExpiryRule.objects.update_or_create(repository=repository, defaults={**values, "applied_at": None})
    audit.record(actor, "set expiry rule", repository.full_name, **values)
    return rule


@transaction.atomic
def remove_rule(*, repository: Repository, actor: Actor) -> None:
    """What it has put into the trash stays there. Raises: ForbiddenError, NotFoundError."""
    demand(actor, Action.MANAGE, repository.resource)
    deleted, _ = ExpiryRule.objects.filter(repository=repository).delete()
    if not deleted:
        raise NotFoundError(f"{repository.full_name} has no expiry rule; its versions stay.")
    audit.record(actor, "remove expiry rule", repository.full_name)


def rule_of(repository: Repository) -> ExpiryRule | None:
    return ExpiryRule.objects.filter(repository=repository).first()


def foresee(repository: Repository, wanted: Wanted, actor: Actor) -> Foreseen:
    """Raises: ForbiddenError, InvalidInputError."""
    demand(actor, Action.MANAGE, repository.resource)
    _check(wanted)
    going = list(expirable(repository, wanted).values_list("pk", flat=True))
    on_variants = Version.objects.filter(branch__base__in=among(going), branch__sees_base=False)
    variants = list(on_variants.values_list("pk", flat=True))
    everything = Version.objects.filter(pk__in=among([*going, *variants]))
    return Foreseen(len(going), len(variants), freed_by(only_in_any_of(everything)))


def _check(wanted: Wanted) -> None:
    if not (1 <= wanted.keep_last <= MOST_KEPT and 0 <= wanted.older_than_days <= MOST_DAYS):
        raise InvalidInputError(
            f"A rule keeps the last 1 to {MOST_KEPT} versions, and takes those older than 0 to {MOST_DAYS} days."
        )


def expirable(repository: Repository, wanted: Wanted) -> QuerySet[Version]:
    """What the rule would take, whatever there is of it: one condition for each kind of hold."""
    lines = Version.objects.filter(repository=repository).exclude(_is_variant())
    newest_first = Window(RowNumber(), partition_by="branch", order_by=F("number").desc())
    older = lines.annotate(place=newest_first).filter(place__gt=wanted.keep_last)
    before = timezone.now() - timedelta(days=wanted.older_than_days)
    held = is_held(repository)
    variants = Version.objects.filter(branch__base=OuterRef("pk"), branch__sees_base=False)
    under_variants = Branch.objects.filter(
        repository=repository, base__branch__base=OuterRef("pk"), base__branch__sees_base=False
    )
    free = Version.objects.filter(~held, pk__in=older.values("pk"), created_at__lt=before, restored_at=None)
    return free.filter(~Exists(variants.filter(held)), ~Exists(under_variants))


def _is_variant() -> Q:
    return Q(branch__base__isnull=False, branch__sees_base=False)


def expire_versions() -> int:
    """Applies every rule, each to a batch of its versions at most. Returns how many went to the trash."""
    rules = ExpiryRule.objects.filter(repository__is_trashed=False).order_by(F("applied_at").asc(nulls_first=True))
    return sum(_apply(rule) for rule in rules.select_related("repository")[:_RULES_AT_ONCE])


def _apply(rule: ExpiryRule) -> int:
    try:
        return _expire(rule)
    except SteelyardError:  # the repository was deleted in this moment
        return 0


@transaction.atomic
def _expire(rule: ExpiryRule) -> int:
    repository = lock_repository(rule.repository_id)
    wanted = Wanted(rule.keep_last, rule.older_than_days)
    going = expirable(repository, wanted).select_related("branch__base", "parent").order_by("number")
    labels = [label for version in going[:_AT_ONCE] for label in _take(repository, version)]
    ExpiryRule.objects.filter(pk=rule.pk).update(applied_at=timezone.now())
    if labels:
        versions_moved.send(Repository, repository=repository)
        audit.record(PLATFORM, "expire versions", repository.full_name, versions=labels, keep_last=rule.keep_last)
    return len(labels)


def _take(repository: Repository, version: Version) -> Iterator[str]:
    """The version's variants, then itself. The labels of what went."""
    for branch in Branch.objects.filter(repository=repository, base=version, sees_base=False):
        yield branch.name
        keep_branch(repository, branch, PLATFORM)
    yield version.label
    keep_version(repository, version, PLATFORM)
