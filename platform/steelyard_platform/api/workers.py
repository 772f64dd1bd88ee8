"""`/api/v1/jobs/{id}/…` for workers: claim with a worker's token, everything after with the job's own."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router, Status

from steelyard_contracts.errors import ForbiddenError, RevisionNotFoundError
from steelyard_contracts.jobs import (
    CheckpointOffer,
    Claim,
    ClaimRequest,
    EvaluationReport,
    Finish,
    Heartbeat,
    HeartbeatAnswer,
    JobView,
    LineageReport,
    LogBatch,
    MetricBatch,
    Rendezvous,
    ResumePoint,
    UploadSlot,
)
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import archives, services
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_version
from steelyard_platform.weights.services import record_evaluation, record_lineage, relation_of

router = Router(tags=["workers"])


@router.post("/{uuid:job_id}/claim", response=Claim)
def claim(request: HttpRequest, job_id: UUID, body: ClaimRequest) -> Claim:
    return services.claim_job(
        job_id=job_id, worker=body.worker, worker_id=body.worker_id, key=body.key, actor=api_actor(request)
    )


@router.post("/{uuid:job_id}/begin-again", response=ResumePoint)
def begin_again(request: HttpRequest, job_id: UUID) -> ResumePoint:
    """For an attempt whose processes died and were started again: from where, and what need not be committed again."""
    return services.begin_again(job_id=job_id, actor=api_actor(request))


@router.post("/{uuid:job_id}/group", response={204: None})
def open_group(request: HttpRequest, job_id: UUID, body: Rendezvous) -> Status[None]:
    """For the first machine of a training on several: where the others find it. They are asked for now."""
    services.open_group(job_id=job_id, actor=api_actor(request), rendezvous=body)
    return Status(204, None)


@router.post("/{uuid:job_id}/heartbeat", response=HeartbeatAnswer)
def heartbeat(request: HttpRequest, job_id: UUID, body: Heartbeat) -> HeartbeatAnswer:
    return services.heartbeat(job_id=job_id, actor=api_actor(request), beat=body)


@router.post("/{uuid:job_id}/metric-points", response={204: None})
def metrics(request: HttpRequest, job_id: UUID, body: MetricBatch) -> Status[None]:
    services.write_metrics(job_id=job_id, actor=api_actor(request), points=body.points)
    return Status(204, None)


@router.post("/{uuid:job_id}/log-lines", response={204: None})
def logs(request: HttpRequest, job_id: UUID, body: LogBatch) -> Status[None]:
    services.write_log(job_id=job_id, actor=api_actor(request), lines=body.lines)
    return Status(204, None)


@router.post("/{uuid:job_id}/checkpoints", response=UploadSlot)
def offer_checkpoint(request: HttpRequest, job_id: UUID, body: CheckpointOffer) -> UploadSlot:
    """Where to PUT the checkpoint's bytes; `…/checkpoints/complete` makes it count."""
    url = services.offer_checkpoint(job_id=job_id, actor=api_actor(request), offer=body)
    return UploadSlot(url=request.build_absolute_uri(url))


@router.post("/{uuid:job_id}/checkpoints/complete", response={204: None})
def complete_checkpoint(request: HttpRequest, job_id: UUID, body: CheckpointOffer) -> Status[None]:
    services.save_checkpoint(job_id=job_id, actor=api_actor(request), offer=body)
    return Status(204, None)


@router.get("/{uuid:job_id}/checkpoint")
def get_checkpoint(request: HttpRequest, job_id: UUID) -> StreamingHttpResponse:
    """The bytes to resume from."""
    body = services.read_checkpoint(job_id=job_id, actor=api_actor(request))
    return StreamingHttpResponse(body, content_type="application/octet-stream")


@router.get("/{uuid:job_id}/archive")
def get_archive(request: HttpRequest, job_id: UUID) -> StreamingHttpResponse:
    """The bytes of the archive that the job is to unpack."""
    body = archives.content_for_worker(job_id, api_actor(request))
    return StreamingHttpResponse(body, content_type="application/octet-stream")


@router.post("/{uuid:job_id}/evaluations", response={204: None})
def report_evaluation(request: HttpRequest, job_id: UUID, body: EvaluationReport) -> Status[None]:
    actor = api_actor(request)
    job = services.held_job(job_id, actor)
    model, dataset = (
        _version(body.model, RepositoryKind.MODEL, actor),
        _version(body.dataset, RepositoryKind.DATASET, actor),
    )
    _demand_own(job, model)
    record_evaluation(version=model, dataset=dataset, report=body, job=job_id)
    audit.record(actor, "report evaluation", model.repository.full_name, version=model.label, metrics=body.metrics)
    return Status(204, None)


@router.post("/{uuid:job_id}/lineage", response={204: None})
def report_lineage(request: HttpRequest, job_id: UUID, body: LineageReport) -> Status[None]:
    actor = api_actor(request)
    job = services.held_job(job_id, actor)
    source, target = (
        _version(body.source, RepositoryKind.MODEL, actor),
        _version(body.target, RepositoryKind.MODEL, actor),
    )
    _demand_own(job, target)
    record_lineage(source=source, target=target, relation=relation_of(body), job=job_id)
    audit.record(actor, "report lineage", target.repository.full_name, version=target.label, source=body.source)
    return Status(204, None)


@router.post("/{uuid:job_id}/finish", response=JobView)
def finish(request: HttpRequest, job_id: UUID, body: Finish) -> JobView:
    job = services.finish_job(job_id=job_id, actor=api_actor(request), finish=body)
    return services.view_of(job)


def _demand_own(job: Job, version: Version) -> None:
    """A job speaks for the repository it works on, not for those it reads. Raises: ForbiddenError."""
    if version.repository_id != job.repository:
        raise ForbiddenError("A job reports on its own repository only.")


def _version(text: str, kind: RepositoryKind, actor: Actor) -> Version:
    """A version that the job's grants let it read."""
    snapshot = find_version(actor, parse_ref(text, kind=kind))
    if snapshot.version is None:
        raise RevisionNotFoundError(f"{text} is empty.", revision=text)
    return snapshot.version
