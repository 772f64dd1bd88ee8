"""Which maintainers have said yes to a promotion, as the gates count them.

An approval is of one move: this version, to this name, in place of what the name stood on. When any of that changes,
the approval stays in the history and counts no more. It counts as long as whoever gave it is a maintainer, and never
for a request of their own.
"""

from __future__ import annotations

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from steelyard_contracts.promotions import PromotionState, PromotionStep
from steelyard_platform.accounts.models import Membership
from steelyard_platform.accounts.permissions import NOBODY, ROLE_ALLOWS, Action, Actor
from steelyard_platform.repos.models import Alias, AliasMove, Repository, Version
from steelyard_platform.repos.webhooks import Discussed, Event, announce
from steelyard_platform.weights.models import GateRule, Promotion, PromotionEvent

MAINTAINING = [role for role, actions in ROLE_ALLOWS.items() if Action.MANAGE in actions]
_STATUS = {PromotionState.OPEN: "open", PromotionState.CARRIED_OUT: "merged"}


def subject_of(version: Version, target: str) -> str:
    """The move, in words that are the same as long as the move is."""
    if target == GateRule.RELEASE:
        return f"{version.label} to devices"
    replaced = replaced_by(version.repository, target)
    return f"{version.label} as {target} in place of {replaced or 'nothing'}"


def replaced_by(repository: Repository, target: str) -> str | None:
    """The version that the alias names now, if there is one."""
    alias = Alias.objects.select_related("version").filter(repository=repository, name=target).first()
    return alias.version.label if alias and target != GateRule.RELEASE else None


def names_of(repository: Repository) -> dict[str, str]:
    """Every alias, and the version that it names now."""
    rows = Alias.objects.filter(repository=repository).select_related("version")
    return {alias.name: alias.version.label for alias in rows if alias.name != GateRule.RELEASE}


def counting_approvals(version: Version, target: str) -> QuerySet[PromotionEvent]:
    """Of the requests that ask for this very move. A release was asked for once, and may be rolled out often."""
    states = [PromotionState.OPEN]
    if target == GateRule.RELEASE:
        states.append(PromotionState.CARRIED_OUT)
    membership = Membership.objects.filter(
        team=version.repository.team_id, user=OuterRef("author"), role__in=MAINTAINING
    )
    return (
        PromotionEvent.objects.filter(
            step=PromotionStep.APPROVAL,
            subject=subject_of(version, target),
            promotion__version=version,
            promotion__target=target,
            promotion__state__in=states,
            author__is_active=True,
        )
        .filter(Q(author__is_superuser=True) | Exists(membership))
        .exclude(author=F("promotion__requester"))
    )


def approvers_of(version: Version, target: str) -> list[str]:
    """The maintainers who approve of it, each once."""
    return sorted(set(counting_approvals(version, target).values_list("author__username", flat=True)))


def is_asked_and_approved(version: Version, target: str, actor: Actor) -> bool:
    """Whether this person asked for the move, and a maintainer has said yes to that."""
    if actor.user_id == NOBODY:
        return False
    return counting_approvals(version, target).filter(promotion__requester=actor.user_id).exists()


def settle(version: Version, target: str, *, move: AliasMove | None, actor: Actor) -> None:
    """Whoever carried the move out, and by whatever way: the request for it has what it asked for."""
    asked = Promotion.objects.select_for_update(of=("self",)).filter(
        version=version, target=target, state=PromotionState.OPEN
    )
    for promotion in asked:  # there is one at most
        promotion.state, promotion.move = PromotionState.CARRIED_OUT, move
        promotion.repository, promotion.version = version.repository, version
        promotion.save(update_fields=["state", "move"])
        PromotionEvent.objects.create(
            promotion=promotion,
            step=PromotionStep.CARRIED_OUT,
            author_id=actor.user_id or None,
            author_name=actor.name,
            subject=f"{version.label} as {target}" if move else f"{version.label} to devices",
        )
        announce(promotion.repository, Event("update", "discussion", discussed=discussed(promotion)))


def discussed(promotion: Promotion) -> Discussed:
    """A request, as webhooks hear of it."""
    label = promotion.version.label if promotion.version else "a deleted version"
    return Discussed(
        key=f"promotion-{promotion.pk}",
        number=promotion.number,
        title=f"{label} as {promotion.target}",
        author=str(promotion.requester_id or promotion.requester_name),
        page=f"promotions/{promotion.number}",
        status=_STATUS.get(PromotionState(promotion.state), "closed"),
    )
