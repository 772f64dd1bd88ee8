"""Asking a version what it makes of pictures. A worker answers; the web process decodes nothing."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router, Status

from steelyard_contracts.prediction import PredictionRequest, PredictionState, PredictionView
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.jobs import predictions
from steelyard_platform.jobs.uploads import answered
from steelyard_platform.repos import addresses  # noqa: F401 - addresses registers the converter
from steelyard_platform.repos.queries import find_existing_version

router = Router(tags=["predictions"])
worker_router = Router(tags=["workers"])

_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FORM = {
    "type": "object",
    "required": ["pictures"],
    "properties": {"pictures": _FILES, "top": {"type": "integer"}, "threshold": {"type": "number"}},
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": PredictionRequest.model_json_schema()},
        },
    }
}


@router.post(
    "/models/{namespace}/{name}/versions/{segment:revision}/predict",
    response={200: PredictionView, 202: PredictionView},
    openapi_extra=_BODY,
)
def predict(request: HttpRequest, namespace: str, name: str, revision: str) -> Status[PredictionView]:
    """Up to 16 pictures, as files `pictures` of a form or as base64 in JSON; what the version says of each.

    Waits for up to 15 seconds; a 202 says to ask again at `/api/v1/predictions/{id}`. Pictures are deleted once they
    were looked at, answers after minutes.
    """
    actor = api_actor(request)
    version = find_existing_version(actor, Ref(RepositoryKind.MODEL, namespace, name, revision))
    view = answered(request, version, actor)
    return Status(202 if view.state is PredictionState.WAITING else 200, view)


@router.get("/predictions/{uuid:prediction}", response={200: PredictionView, 202: PredictionView})
def get_prediction(request: HttpRequest, prediction: UUID) -> Status[PredictionView]:
    """202 while it waits. For whoever asked."""
    view = predictions.find(prediction, api_actor(request))
    return Status(202 if view.state is PredictionState.WAITING else 200, view)


@worker_router.get("/{uuid:job_id}/pictures/{int:number}")
def get_picture(request: HttpRequest, job_id: UUID, number: int) -> StreamingHttpResponse:
    """The bytes of a picture that the job is to look at."""
    body = predictions.picture_for_worker(job_id, number, api_actor(request))
    return StreamingHttpResponse(body, content_type="application/octet-stream")
