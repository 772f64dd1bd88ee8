"""Requests for promotion: a member asks, maintainers approve or reject with comments, then somebody carries it out.

    promotion = request_promotion(version=…, target="production", words="…", actor=…)
    approve(promotion=…, seen="v5", words="…", actor=…)
    carry_out(promotion=…, reason="", override=False, actor=…)

Whoever asked never approves; what is asked for stands in the request, so that an approval is of that and nothing else
(`approvals`). Carrying out goes through the same gates as any promotion. A release is carried out by releasing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import QuerySet

from steelyard_contracts.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from steelyard_contracts.promotions import LONGEST_WORDS, PromotionState, PromotionStep
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import NOBODY, Action, Actor, demand
from steelyard_platform.repos.locking import lock_repository, lock_version
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.services import check_alias_name, refuse_jobs
from steelyard_platform.repos.webhooks import Comment, Event, announce
from steelyard_platform.weights.approvals import counting_approvals, discussed, replaced_by, subject_of
from steelyard_platform.weights.gates import Verdict
from steelyard_platform.weights.models import GateRule, Promotion, PromotionEvent
from steelyard_platform.weights.services import gated, promote_version, sign_if_asked, verdicts_for


@transaction.atomic
def request_promotion(*, version: Version, target: str, words: str, actor: Actor) -> Promotion:
    """Asks that `target` (an alias, or `release`) be moved to the version.

    Raises: ForbiddenError, InvalidNameError; AlreadyExistsError when it is asked for, ConflictError when it is so.
    """
    repository = lock_version(version)
    _demand_member(actor, repository)
    _check_asked(repository, version, target)
    repository.last_proposal += 1
    repository.save(update_fields=["last_proposal"])
    promotion = Promotion.objects.create(
        repository=repository,
        number=repository.last_proposal,
        version=version,
        target=target,
        words=_checked(words),
        requester_id=actor.user_id,
        requester_name=actor.name,
    )
    audit.record(actor, "request promotion", repository.full_name, number=promotion.number, **_asked(promotion))
    announce(repository, Event("create", "discussion", discussed=discussed(promotion)))
    return promotion


def change_promotion(
    *, promotion: Promotion, version: Version | None, target: str | None, words: str, actor: Actor
) -> Promotion:
    """Another version, or another name: what was approved until now was something else.

    Raises: ForbiddenError for others than who asked, and as `request_promotion`.
    """
    with _open(promotion) as found:
        _demand_requester(actor, found)
        if version is None and target is None:
            raise InvalidInputError("Say what is asked for instead: another version, or another name.")
        asked_version, asked_target = version or _version_of(found), target or found.target
        _check_asked(found.repository, asked_version, asked_target, besides=found)
        found.version, found.target = asked_version, asked_target
        found.save(update_fields=["version", "target"])
        _note(found, PromotionStep.CHANGE, words, actor, subject=subject_of(asked_version, asked_target))
        audit.record(actor, "change promotion", found.repository.full_name, number=found.number, **_asked(found))
        announce(found.repository, Event("update", "discussion", discussed=discussed(found)))
    return found


def forget_deleted(repository: Repository) -> None:
    """Requests for what is in the trash ask for nothing any more; whoever asked can say what instead."""
    Promotion.objects.filter(repository=repository, version__repository__is_trashed=True).update(version=None)


def comment_on(*, promotion: Promotion, words: str, actor: Actor) -> Promotion:
    """Raises: ForbiddenError for who is no member, InvalidInputError without words, ConflictError when it has ended."""
    with _open(promotion) as found:
        _demand_member(actor, found.repository)
        if not words.strip():
            raise InvalidInputError("A comment needs words.", field="words")
        said = _note(found, PromotionStep.COMMENT, words, actor)
        audit.record(actor, "comment on promotion", found.repository.full_name, number=found.number)
        comment = Comment(str(said.pk), str(actor.user_id), said.words)
        announce(found.repository, Event("create", "discussion.comment", discussed=discussed(found), comment=comment))
    return found


def approve(*, promotion: Promotion, seen: str | None, words: str, actor: Actor) -> Promotion:
    """A maintainer's yes to what is asked for now. `seen`: the version that they looked at, when they said so.

    Raises: ForbiddenError for others than maintainers, and for who asked; AlreadyExistsError for who has approved it;
        ConflictError when it has ended, or asks for another version than was seen.
    """
    with _open(promotion) as found:
        _demand_maintainer(actor, found.repository)
        if actor.user_id == found.requester_id:
            raise ForbiddenError("Whoever asked for a promotion cannot approve it; ask another maintainer.")
        version = _version_of(found)
        _check_seen(found, version, seen)
        if counting_approvals(version, found.target).filter(promotion=found, author=actor.user_id).exists():
            raise AlreadyExistsError(f"You have approved {version.label} as {found.target} already.")
        _note(found, PromotionStep.APPROVAL, words, actor, subject=subject_of(version, found.target))
        audit.record(actor, "approve promotion", found.repository.full_name, number=found.number, **_asked(found))
        announce(found.repository, Event("update", "discussion", discussed=discussed(found)))
    return found


def reject(*, promotion: Promotion, words: str, actor: Actor) -> Promotion:
    """A maintainer's no, which ends the request. Raises: ForbiddenError, ConflictError when it has ended."""
    with _open(promotion) as found:
        _demand_maintainer(actor, found.repository)
        _end(found, PromotionState.REJECTED, PromotionStep.REJECTION, words, actor)
    return found


def withdraw(*, promotion: Promotion, words: str, actor: Actor) -> Promotion:
    """Whoever asked takes it back. Raises: ForbiddenError for others, ConflictError when it has ended."""
    with _open(promotion) as found:
        _demand_requester(actor, found)
        _end(found, PromotionState.WITHDRAWN, PromotionStep.WITHDRAWAL, words, actor)
    return found


def carry_out(*, promotion: Promotion, reason: str, override: bool, actor: Actor) -> Promotion:
    """Moves the alias, if every gate allows it or a maintainer overrides them.

    Raises: as `promote_version`; ConflictError when the request has ended, or asks for a release.
    """
    if promotion.version is not None and promotion.state == PromotionState.OPEN:
        sign_if_asked(_version_of(promotion), promotion.target)
    with gated(promotion.repository, actor), _open(promotion) as found:
        if found.target == GateRule.RELEASE:
            raise ConflictError("A release is carried out by releasing this version to devices.")
        # An override asks for a reason of its own, not for that of whoever wished for the promotion.
        given = reason if override else reason.strip() or found.words
        promote_version(version=_version_of(found), alias=found.target, reason=given, override=override, actor=actor)
    return promotion_numbered(promotion.repository, promotion.number)


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands between a request and its end."""

    verdicts: list[Verdict]
    replaces: str | None
    subject: str
    counting: frozenset[int]  # the events that are approvals of what is asked for now


def standing_of(promotion: Promotion) -> Standing:
    """For the faces; nothing for a request whose version was deleted."""
    if promotion.version is None:
        return Standing([], replaced_by(promotion.repository, promotion.target), "", frozenset())
    version = _version_of(promotion)
    counting = counting_approvals(version, promotion.target).filter(promotion=promotion)
    return Standing(
        verdicts=verdicts_for(version, promotion.target),
        replaces=replaced_by(promotion.repository, promotion.target),
        subject=subject_of(version, promotion.target),
        counting=frozenset(counting.values_list("pk", flat=True)),
    )


def promotions_of(repository: Repository) -> QuerySet[Promotion]:
    """With what a list shows of each."""
    return Promotion.objects.filter(repository=repository).select_related("version__branch", "requester", "move")


def promotion_numbered(repository: Repository, number: int) -> Promotion:
    """Raises: NotFoundError."""
    found = promotions_of(repository).filter(number=number).first()
    if found is None:
        raise NotFoundError(f"{repository.full_name} has no promotion {number}.", number=number)
    found.repository = repository
    return found


@contextmanager
def _open(promotion: Promotion) -> Iterator[Promotion]:
    """The request, locked in one transaction, for as long as something is done to it. Raises: ConflictError."""
    with transaction.atomic():
        # The repository first, as everywhere: whoever moves an alias holds it too.
        repository = lock_repository(promotion.repository_id)
        found = Promotion.objects.select_for_update(of=("self",)).select_related("version__branch").get(pk=promotion.pk)
        found.repository = repository
        _check_open(found)
        yield found


def _version_of(promotion: Promotion) -> Version:
    if promotion.version is None:
        raise ConflictError("The version that was asked for was deleted; ask for another one.")
    promotion.version.repository = promotion.repository
    return promotion.version


def _check_open(promotion: Promotion) -> None:
    if promotion.state != PromotionState.OPEN:
        words = promotion.state.replace("_", " ")
        raise ConflictError(f"The promotion {promotion.number} was {words} already.", state=promotion.state)


def _check_asked(repository: Repository, version: Version, target: str, *, besides: Promotion | None = None) -> None:
    """Raises: InvalidNameError; AlreadyExistsError, ConflictError when there is nothing to ask for."""
    if target != GateRule.RELEASE:
        check_alias_name(repository, target)
    if replaced_by(repository, target) == version.label:
        raise ConflictError(f"{target} is {version.label} already.")
    same = Promotion.objects.filter(repository=repository, version=version, target=target, state=PromotionState.OPEN)
    if besides is not None:
        same = same.exclude(pk=besides.pk)
    if (known := same.first()) is not None:
        raise AlreadyExistsError(
            f"The promotion {known.number} asks for {version.label} as {target} already.", number=known.number
        )


def _check_seen(promotion: Promotion, version: Version, seen: str | None) -> None:
    if seen is not None and seen != version.label:
        raise ConflictError(
            f"The promotion {promotion.number} asks for {version.label} by now, not for {seen}; look at it again.",
            version=version.label,
        )


def _demand_member(actor: Actor, repository: Repository) -> None:
    """Anybody in the team, whatever their role. Raises: AuthenticationError, ForbiddenError."""
    refuse_jobs(actor)
    # What a public repository allows to strangers is to propose files, not to speak for the team.
    demand(actor, Action.PROPOSE, replace(repository.resource, is_public=False))
    _demand_person(actor)


def _demand_maintainer(actor: Actor, repository: Repository) -> None:
    refuse_jobs(actor)
    demand(actor, Action.MANAGE, repository.resource)
    _demand_person(actor)


def _demand_requester(actor: Actor, promotion: Promotion) -> None:
    _demand_member(actor, promotion.repository)
    if actor.user_id != promotion.requester_id:
        raise ForbiddenError(f"Only {promotion.requester_name}, who asked for it, changes or withdraws this.")


def _demand_person(actor: Actor) -> None:
    if actor.user_id == NOBODY:
        raise ForbiddenError("People ask for promotions and decide on them.")


def _checked(words: str) -> str:
    words = words.replace("\0", "").strip()  # which PostgreSQL keeps in no text
    if len(words) > LONGEST_WORDS:
        raise InvalidInputError(f"At most {LONGEST_WORDS} letters, please.", field="words")
    return words


def _note(promotion: Promotion, step: PromotionStep, words: str, actor: Actor, *, subject: str = "") -> PromotionEvent:
    return PromotionEvent.objects.create(
        promotion=promotion,
        step=step,
        author_id=actor.user_id,
        author_name=actor.name,
        words=_checked(words),
        subject=subject,
    )


def _end(promotion: Promotion, state: PromotionState, step: PromotionStep, words: str, actor: Actor) -> None:
    promotion.state = state
    promotion.save(update_fields=["state"])
    _note(promotion, step, words, actor)
    verb = {PromotionState.REJECTED: "reject", PromotionState.WITHDRAWN: "withdraw"}[state]
    audit.record(
        actor, f"{verb} promotion", promotion.repository.full_name, number=promotion.number, **_asked(promotion)
    )
    announce(promotion.repository, Event("update", "discussion", discussed=discussed(promotion)))


def _asked(promotion: Promotion) -> dict[str, str | None]:
    return {"version": promotion.version.label if promotion.version else None, "wanted_as": promotion.target}
