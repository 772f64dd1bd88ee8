"""`/api/v1/jobs/{id}/samples`: pictures that a job leaves on its way; written by its worker, read by who may see it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router, Status

from steelyard_contracts.jobs import SampleView
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.api.paging import Page
from steelyard_platform.jobs import services
from steelyard_platform.jobs.models import Sample
from steelyard_platform.jobs.samples import LARGEST, read_sample, save_sample, view_of_sample
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of

router = Router(tags=["jobs"])
_PICTURE = {
    "requestBody": {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}, "required": True}
}


@router.post("/{uuid:job_id}/samples", response={201: SampleView}, openapi_extra=_PICTURE)
def add_sample(
    request: HttpRequest, job_id: UUID, name: str, step: Annotated[int, Query(ge=0, lt=2**62)]
) -> Status[SampleView]:
    """Keeps the PNG in the body for `name` at `step`, with the job's token."""
    png = request.read(LARGEST + 1)
    sample = save_sample(job_id=job_id, actor=api_actor(request), name=name, step=step, png=png)
    return Status(201, view_of_sample(sample))


@router.get("/{uuid:job_id}/samples", response=Page[SampleView])
def list_samples(
    request: HttpRequest,
    job_id: UUID,
    name: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, object]:
    """By step."""
    job = services.find_job(job_id, api_actor(request))
    rows = Sample.objects.filter(job=job)
    if name is not None:
        rows = rows.filter(name=name)
    items, following = page_of(rows, field="step", cursor=cursor, limit=limit, ascending=True)
    return {"items": [view_of_sample(item) for item in items], "next": following}


@router.get("/{uuid:job_id}/samples/{int:sample_id}.png")
def get_sample(request: HttpRequest, job_id: UUID, sample_id: int) -> StreamingHttpResponse:
    """The picture, to whoever may see the job."""
    _, content = read_sample(services.find_job(job_id, api_actor(request)), sample_id)
    return StreamingHttpResponse(
        content,
        content_type="image/png",
        headers={"Cache-Control": "private, max-age=60", "X-Content-Type-Options": "nosniff"},
    )
