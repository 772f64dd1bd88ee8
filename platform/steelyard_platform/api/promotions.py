"""`/api/v1`: requests for promotion, what is said about them, and their end."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from steelyard_contracts.promotions import (
    CarryOutRequest,
    GateVerdict,
    PromotionChange,
    PromotionDetail,
    PromotionEventView,
    PromotionRemark,
    PromotionRequest,
    PromotionState,
    PromotionStep,
    PromotionView,
)
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.api.lookups import Kind, repository_at, version_in
from steelyard_platform.api.paging import Page
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of
from steelyard_platform.weights import promotions
from steelyard_platform.weights.approvals import names_of
from steelyard_platform.weights.models import Promotion

router = Router(tags=["promotions"])
_HOME = "/{kind}/{namespace}/{name}/promotions"
_ONE = f"{_HOME}/{{int:number}}"
_EVENTS = 500


@router.get(_HOME, response=Page[PromotionView])
def list_promotions(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    state: PromotionState | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """Newest first."""
    repository = repository_at(request, kind, namespace, name)
    rows = promotions.promotions_of(repository)
    items, following = page_of(
        rows.filter(state=state) if state else rows, field="created_at", cursor=cursor, limit=limit
    )
    named = names_of(repository)
    return {"items": [_view(repository, item, named) for item in items], "next": following}


@router.post(_HOME, response={201: PromotionDetail})
def post_promotion(
    request: HttpRequest, kind: Kind, namespace: str, name: str, body: PromotionRequest
) -> Status[PromotionDetail]:
    """Asks that an alias be moved to the version, or that it be released; for every member of the team."""
    version = version_in(repository_at(request, kind, namespace, name), body.revision)
    made = promotions.request_promotion(version=version, target=body.target, words=body.words, actor=api_actor(request))
    return Status(201, _detail(made))


@router.get(_ONE, response=PromotionDetail)
def get_promotion(request: HttpRequest, kind: Kind, namespace: str, name: str, number: int) -> PromotionDetail:
    """With what was said, and what the gates say now."""
    return _detail(_find(request, kind, namespace, name, number))


@router.patch(_ONE, response=PromotionDetail)
def patch_promotion(
    request: HttpRequest, kind: Kind, namespace: str, name: str, number: int, body: PromotionChange
) -> PromotionDetail:
    """Another version or another name, by whoever asked; what was approved until now was something else."""
    found = _find(request, kind, namespace, name, number)
    version = version_in(found.repository, body.revision) if body.revision else None
    return _detail(
        promotions.change_promotion(
            promotion=found, version=version, target=body.target, words=body.words, actor=api_actor(request)
        )
    )


@router.post(f"{_ONE}/comments", response=PromotionDetail)
def post_comment(
    request: HttpRequest, kind: Kind, namespace: str, name: str, number: int, body: PromotionRemark
) -> PromotionDetail:
    found = _find(request, kind, namespace, name, number)
    return _detail(promotions.comment_on(promotion=found, words=body.words, actor=api_actor(request)))


@router.post(f"{_ONE}/approve", response=PromotionDetail)
def approve(
    request: HttpRequest, kind: Kind, namespace: str, name: str, number: int, body: PromotionRemark
) -> PromotionDetail:
    """For maintainers, and never for whoever asked."""
    found = _find(request, kind, namespace, name, number)
    seen = version_in(found.repository, body.revision).label if body.revision else None
    return _detail(promotions.approve(promotion=found, seen=seen, words=body.words, actor=api_actor(request)))


@router.post(f"{_ONE}/reject", response=PromotionDetail)
def reject(
    request: HttpRequest, kind: Kind, namespace: str, name: str, number: int, body: PromotionRemark
) -> PromotionDetail:
    """Ends the request; for maintainers."""
    found = _find(request, kind, namespace, name, number)
    return _detail(promotions.reject(promotion=found, words=body.words, actor=api_actor(request)))


@router.post(f"{_ONE}/withdraw", response=PromotionDetail)
def withdraw(
    request: HttpRequest, kind: Kind, namespace: str, name: str, number: int, body: PromotionRemark
) -> PromotionDetail:
    """Ends the request; for whoever asked."""
    found = _find(request, kind, namespace, name, number)
    return _detail(promotions.withdraw(promotion=found, words=body.words, actor=api_actor(request)))


@router.post(f"{_ONE}/carry-out", response=PromotionDetail)
def carry_out(
    request: HttpRequest, kind: Kind, namespace: str, name: str, number: int, body: CarryOutRequest
) -> PromotionDetail:
    """Moves the alias if every gate allows it; the refusal says which did not."""
    found = _find(request, kind, namespace, name, number)
    return _detail(
        promotions.carry_out(promotion=found, reason=body.reason, override=body.override, actor=api_actor(request))
    )


def _find(request: HttpRequest, kind: Kind, namespace: str, name: str, number: int) -> Promotion:
    return promotions.promotion_numbered(repository_at(request, kind, namespace, name), number)


def _view(repository: Repository, row: Promotion, named: dict[str, str]) -> PromotionView:
    return PromotionView(
        number=row.number,
        repository=repository.full_name,
        version=row.version.label if row.version else None,
        target=row.target,
        replaces=named.get(row.target),
        state=PromotionState(row.state),
        words=row.words,
        requester=row.requester_name,
        created_at=row.created_at,
    )


def _detail(row: Promotion) -> PromotionDetail:
    standing = promotions.standing_of(row)
    events = [
        PromotionEventView(
            step=PromotionStep(event.step),
            author=event.author_name,
            words=event.words,
            subject=event.subject,
            counts=event.pk in standing.counting,
            at=event.at,
        )
        for event in row.events.order_by("at", "pk")[:_EVENTS]
    ]
    named = {row.target: standing.replaces} if standing.replaces else {}
    return PromotionDetail(
        **_view(row.repository, row, named).model_dump(),
        events=events,
        verdicts=[GateVerdict.model_validate(verdict.as_record()) for verdict in standing.verdicts],
    )
