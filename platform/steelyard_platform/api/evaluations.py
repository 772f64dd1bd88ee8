"""What was measured of versions: all of one evaluation, and several versions side by side."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from steelyard_contracts.evaluation import EvaluationComparison, EvaluationDetail, EvaluationView
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.api.paging import Page
from steelyard_platform.repos import addresses  # noqa: F401 - addresses registers the converter
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.weights import evaluations
from steelyard_platform.weights.services import visible_evaluations

router = Router(tags=["evaluations"])
_VERSION = "/models/{namespace}/{name}/versions/{segment:revision}/evaluations"


@router.get("/evaluations/compare", response=EvaluationComparison)
def compare(request: HttpRequest, ref: Query[list[str]]) -> EvaluationComparison:
    """Two to eight model versions, `ref=team/model@v1&ref=team/model@v2`: their newest evaluations on the same data.

    Each is held against the first one that was measured there; `is_noise` says that another choice of pictures might
    turn the difference round.
    """
    actor = api_actor(request)
    return evaluations.compare_evaluations([_version(parse_ref(text), actor) for text in ref], actor)


@router.get(_VERSION, response=Page[EvaluationView])
def list_evaluations(
    request: HttpRequest,
    namespace: str,
    name: str,
    revision: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """Of a version, newest first, on datasets that the caller may read."""
    actor = api_actor(request)
    version = _version(Ref(RepositoryKind.MODEL, namespace, name, revision), actor)
    items, following = page_of(visible_evaluations(version, actor), field="pk", cursor=cursor, limit=limit)
    return {"items": [evaluations.view_of(item) for item in items], "next": following}


@router.get(f"{_VERSION}/{{int:number}}", response=EvaluationDetail)
def get_evaluation(request: HttpRequest, namespace: str, name: str, revision: str, number: int) -> EvaluationDetail:
    """With its classes, confusion, curves, calibration and worst pictures."""
    actor = api_actor(request)
    version = _version(Ref(RepositoryKind.MODEL, namespace, name, revision), actor)
    return evaluations.detail_of(evaluations.find_evaluation(version, number, actor), actor)


@router.get(f"{_VERSION}/{{int:number}}/samples/{{int:rank}}")
def get_sample(request: HttpRequest, namespace: str, name: str, revision: str, number: int, rank: int) -> HttpResponse:
    """A small picture, for those who may read the dataset's files."""
    actor = api_actor(request)
    version = _version(Ref(RepositoryKind.MODEL, namespace, name, revision), actor)
    return picture_response(
        evaluations.sample_picture(evaluations.find_evaluation(version, number, actor), rank, actor)
    )


def picture_response(picture: bytes) -> HttpResponse:
    """A PNG or a JPEG, which is told by its first bytes, as that and nothing else."""
    kind = "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
    return HttpResponse(picture, content_type=kind, headers=headers)


def _version(ref: Ref, actor: Actor) -> Version:
    return find_existing_version(actor, ref, Action.SEE)
