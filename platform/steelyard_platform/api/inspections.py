"""What is inside weights: reported by workers with a job's token, read by whoever may read the files."""

from __future__ import annotations

import zlib
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import ValidationError

from steelyard_contracts.errors import ForbiddenError, InvalidInputError, TooLargeError
from steelyard_contracts.jobs import CompareSpec, InspectSpec
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_contracts.weights import (
    CompareView,
    FileReport,
    FileToInspect,
    InspectionState,
    InspectionView,
    TensorChangeBatch,
    TensorInFile,
    TensorPair,
)
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.api.paging import Page
from steelyard_platform.jobs import services
from steelyard_platform.jobs.comparisons import comparison, other_version
from steelyard_platform.jobs.inspections import inspection
from steelyard_platform.repos import addresses  # noqa: F401 - addresses registers the converter
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.weights.comparison import record_changes, unmeasured
from steelyard_platform.weights.inspection import files_to_inspect, record_report, tensors_of

router = Router(tags=["weights"])
worker_router = Router(tags=["workers"])

# Fifty thousand tensors with ten thousand histograms are 20 MB of text, and a quarter of that on their way.
_LARGEST_BODY = 32 * 1024 * 1024
_LARGEST_REPORT = 128 * 1024 * 1024
_GZIP = 31
_TENSORS = 100


@worker_router.get("/{uuid:job_id}/files-to-inspect", response=list[FileToInspect])
def list_files_to_inspect(request: HttpRequest, job_id: UUID) -> list[FileToInspect]:
    """The files of the job's version that nobody has looked into yet; all of them, if it is to look again."""
    version, spec = _inspected_by(job_id, api_actor(request))
    return files_to_inspect(version, again=spec.again)


@worker_router.post(
    "/{uuid:job_id}/files",
    response={204: None},
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
def report_file(request: HttpRequest, job_id: UUID) -> Status[None]:
    """A `FileReport` as JSON, compressed by gzip."""
    actor = api_actor(request)
    version, _ = _inspected_by(job_id, actor)
    record_report(version=version, report=_report(request), actor=actor)
    return Status(204, None)


@worker_router.get("/{uuid:job_id}/changed-tensors", response=list[TensorPair])
def list_changed_tensors(request: HttpRequest, job_id: UUID) -> list[TensorPair]:
    """What differs between the job's two versions and nobody has measured yet."""
    return unmeasured(*_versions_of(job_id, api_actor(request)))


@worker_router.post("/{uuid:job_id}/tensor-changes", response={204: None})
def report_tensor_changes(request: HttpRequest, job_id: UUID, body: TensorChangeBatch) -> Status[None]:
    actor = api_actor(request)
    left, right = _versions_of(job_id, actor)
    record_changes(left=left, right=right, changes=body.changes, actor=actor)
    return Status(204, None)


@router.get(
    "/models/{namespace}/{name}/compare/{segment:left}...{segment:right}",
    response={200: CompareView, 202: CompareView},
)
def compare_versions(request: HttpRequest, namespace: str, name: str, left: str, right: str) -> Status[CompareView]:
    """What differs between two versions; `right` may be `namespace/name@revision` of another model.

    202 while tensors that differ are still being measured: everything else is known already.
    """
    actor = api_actor(request)
    one = find_existing_version(actor, Ref(RepositoryKind.MODEL, namespace, name, left))
    view, _ = comparison(one, other_version(one.repository, right, actor))
    return Status(202 if view.state is InspectionState.PENDING else 200, view)


@router.get("/models/{namespace}/{name}/versions/{segment:revision}/inspection", response=InspectionView)
def get_inspection(request: HttpRequest, namespace: str, name: str, revision: str) -> InspectionView:
    """Format, framework, parameters by module and kind of number, findings; `pending` until every file was read."""
    return inspection(_find(request, namespace, name, revision))


@router.get("/models/{namespace}/{name}/versions/{segment:revision}/tensors", response=Page[TensorInFile])
def list_tensors(
    request: HttpRequest,
    namespace: str,
    name: str,
    revision: str,
    model: str = "",
    module: str = "",
    cursor: str | None = None,
    limit: int = _TENSORS,
) -> dict[str, Any]:
    """The tensors of a model (the version's main one, unless named) in and below a module, with statistics."""
    version = _find(request, namespace, name, revision)
    items, following = tensors_of(version, model=model, module=module, cursor=cursor, limit=limit)
    return {"items": items, "next": following}


def _find(request: HttpRequest, namespace: str, name: str, revision: str) -> Version:
    """Who may read the files may read what is in them."""
    return find_existing_version(api_actor(request), Ref(RepositoryKind.MODEL, namespace, name, revision))


def _inspected_by(job_id: UUID, actor: Actor) -> tuple[Version, InspectSpec]:
    """The version that an inspection is about. Raises: LeaseLostError, ForbiddenError."""
    spec = services.view_of(services.held_job(job_id, actor)).spec
    if not isinstance(spec, InspectSpec):
        raise ForbiddenError("Only inspections report what is inside files.")
    return find_existing_version(actor, parse_ref(spec.model)), spec


def _versions_of(job_id: UUID, actor: Actor) -> tuple[Version, Version]:
    """The two versions that a comparison is about. Raises: LeaseLostError, ForbiddenError."""
    spec = services.view_of(services.held_job(job_id, actor)).spec
    if not isinstance(spec, CompareSpec):
        raise ForbiddenError("Only comparisons report how tensors changed.")
    return find_existing_version(actor, parse_ref(spec.left)), find_existing_version(actor, parse_ref(spec.right))


def _report(request: HttpRequest) -> FileReport:
    """Raises: InvalidInputError, TooLargeError; neither reads more than it must."""
    body = request.read(_LARGEST_BODY + 1)
    unpacking = zlib.decompressobj(_GZIP)
    try:
        text = unpacking.decompress(body, _LARGEST_REPORT)
    except zlib.error as error:
        raise InvalidInputError("The report is no gzip of JSON.") from error
    if len(body) > _LARGEST_BODY or unpacking.unconsumed_tail:
        raise TooLargeError(f"A report is at most {_LARGEST_REPORT} bytes long, {_LARGEST_BODY} when compressed.")
    try:
        return FileReport.model_validate_json(text)
    except ValidationError as error:
        raise InvalidInputError(f"The report is malformed: {error.errors()[0]['msg']}.") from error
