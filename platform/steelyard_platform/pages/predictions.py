"""The panel on a version's page that pictures are dropped on. Its script asks here, with the page's own session."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import NotFoundError, SteelyardError, body_of
from steelyard_contracts.prediction import PredictionState, PredictionView
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.jobs import predictions
from steelyard_platform.jobs.uploads import answered
from steelyard_platform.pages.rendering import page
from steelyard_platform.repos.queries import find_existing_version


@page
@require_POST
def predict(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    try:
        if kind != RepositoryKind.MODEL:
            raise NotFoundError("A dataset predicts nothing.")
        actor = page_actor(request)
        version = find_existing_version(actor, Ref(RepositoryKind.MODEL, namespace, name, revision))
        return _answer(answered(request, version, actor))
    except SteelyardError as error:
        return JsonResponse(body_of(error).model_dump(mode="json"), status=error.status)


@page
def prediction(request: HttpRequest, prediction_id: UUID) -> HttpResponseBase:
    try:
        return _answer(predictions.find(prediction_id, page_actor(request)))
    except SteelyardError as error:
        return JsonResponse(body_of(error).model_dump(mode="json"), status=error.status)


def _answer(view: PredictionView) -> JsonResponse:
    return JsonResponse(view.model_dump(mode="json"), status=202 if view.state is PredictionState.WAITING else 200)
