"""`/api/device/v1`: what devices say and ask. A device's key opens this and nothing else."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from ninja import Router, Status

from steelyard_contracts.fleet import EnrolAnswer, EnrolRequest, InstallReport, PollAnswer, PollRequest
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.fleet import services
from steelyard_platform.repos.serving import serve_entry

router = Router(tags=["device"])


@router.post("/enrol", response=EnrolAnswer)
def enrol(request: HttpRequest, body: EnrolRequest) -> EnrolAnswer:
    """Asks for a place in the team of the enrolment token; an operator accepts it."""
    return services.enrol_device(request=body, actor=api_actor(request))


@router.post("/poll", response=PollAnswer)
def poll(request: HttpRequest, body: PollRequest) -> PollAnswer:
    return services.answer_poll(request=body, actor=api_actor(request))


@router.post("/report", response={204: None})
def report(request: HttpRequest, body: InstallReport) -> Status[None]:
    services.receive_report(report=body, actor=api_actor(request))
    return Status(204, None)


@router.get("/releases/{uuid:release_id}/files/{path:path}")
def get_file(request: HttpRequest, release_id: UUID, path: str) -> HttpResponseBase:
    """A file of a release that this device was offered, with Range."""
    return serve_entry(request, services.release_file(release_id, path, api_actor(request)))
