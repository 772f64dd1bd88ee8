"""`/api/v1/runs/compare`, `/api/v1/jobs/estimate` and a job's live stream."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router

from steelyard_contracts.errors import AuthenticationError
from steelyard_contracts.estimates import JobEstimate
from steelyard_contracts.jobs import JobRequest
from steelyard_contracts.runs import RunComparison
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.jobs import services
from steelyard_platform.jobs.estimates import estimate_job
from steelyard_platform.jobs.runs import compare_runs
from steelyard_platform.jobs.watching import EVENT_STREAM, STREAM_HEADERS, hub

router = Router(tags=["jobs"])


@router.get("/runs/compare", response=RunComparison)
def compare(request: HttpRequest, job: Annotated[list[UUID], Query()]) -> RunComparison:
    """Two to eight jobs: what they were asked for, where they differ, and how they ended, the best of each marked."""
    return compare_runs(job, api_actor(request))


@router.post("/jobs/estimate", response=JobEstimate)
def estimate(request: HttpRequest, body: JobRequest) -> JobEstimate:
    """How long the job will probably take, from earlier ones like it, and what that costs. Nothing is queued."""
    actor = api_actor(request)
    if actor.is_anonymous:
        raise AuthenticationError("Send a token: an estimate is made from your teams' own runs.")
    return estimate_job(spec=body.spec, actor=actor, resources=body.resources)


@router.get("/jobs/{uuid:job_id}/events")
def events(request: HttpRequest, job_id: UUID) -> StreamingHttpResponse:
    """Server-sent events: `hello` (load what there is now), `change` (new points, lines, samples, the state), `end`.

    Send `Last-Event-ID` to go on where a stream broke off. At most ten minutes long; 503 when as many watch as may.
    """
    job = services.find_job(job_id, api_actor(request))
    stream = hub.stream(job.pk, request.headers.get("Last-Event-ID", ""))
    return StreamingHttpResponse(stream, content_type=EVENT_STREAM, headers=STREAM_HEADERS)
