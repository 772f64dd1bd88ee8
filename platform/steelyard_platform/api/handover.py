"""`/api/v1/imports/…`: versions, names, measures and lineage with the dates they had; and what an export reads.

Importing is for a team's maintainers, and each request leaves its row in the audit trail.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import ValidationError

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.handover import (
    Added,
    Aliases,
    AliasMoves,
    Edges,
    EvaluationRecord,
    FileRecord,
    ImportedVersion,
    RepositoryRecord,
    VersionRecord,
)
from steelyard_contracts.wire import faults_in_words
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.api.lookups import Kind, repository_at, version_at, version_in
from steelyard_platform.api.paging import Page
from steelyard_platform.repos import commits, handover
from steelyard_platform.repos.blobs import Pack
from steelyard_platform.repos.incoming import accept_large, read_commit
from steelyard_platform.weights import handover as weights
from steelyard_platform.weights.evaluations import find_evaluation

router = Router(tags=["handover"])
_ONE = "/imports/{kind}/{namespace}/{name}"
_HOME = "/{kind}/{namespace}/{name}"
_MOST_OPERATIONS = 1_000_000
_COMMIT = {"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "required": True}}


@router.post(f"{_ONE}/versions", response={200: ImportedVersion, 201: ImportedVersion}, openapi_extra=_COMMIT)
def import_version(request: HttpRequest, kind: Kind, namespace: str, name: str) -> Status[ImportedVersion]:
    """One version, whole or not at all. The body is that of a Hub commit, its header a `VersionRecord`."""
    actor = api_actor(request)
    repository = repository_at(request, kind, namespace, name)
    handover.demand_import(actor, repository)  # before anything is read
    last = repository.last_number
    with Pack() as pack:
        incoming = read_commit(request, pack, most=_MOST_OPERATIONS)
        record = _record(incoming.header)
        commits.check_operations(incoming.operations)
        accept_large(repository, incoming, repository.team)
        pack.store(repository.team)
    version = handover.import_version(repository=repository, record=record, incoming=incoming, actor=actor)
    made = version.number > last
    view = ImportedVersion(
        version=version.label,
        commit=version.commit_id,
        files=version.file_count,
        size=version.total_size,
        made=made,
    )
    return Status(201 if made else 200, view)


@router.post(f"{_ONE}/repository", response={204: None})
def import_repository(
    request: HttpRequest, kind: Kind, namespace: str, name: str, body: RepositoryRecord
) -> Status[None]:
    """The day it was made, when that is earlier than it says here."""
    repository = repository_at(request, kind, namespace, name)
    handover.import_repository(repository=repository, record=body, actor=api_actor(request))
    return Status(204, None)


@router.post(f"{_ONE}/alias-moves", response=Added)
def import_alias_moves(request: HttpRequest, kind: Kind, namespace: str, name: str, body: AliasMoves) -> Added:
    """History alone: where an alias stands now is told by `aliases`."""
    repository = repository_at(request, kind, namespace, name)
    return Added(added=weights.import_alias_moves(repository=repository, moves=body.moves, actor=api_actor(request)))


@router.post(f"{_ONE}/aliases", response=Added)
def import_aliases(request: HttpRequest, kind: Kind, namespace: str, name: str, body: Aliases) -> Added:
    """Where each stands; a gate that guards it here may refuse."""
    actor, repository = api_actor(request), repository_at(request, kind, namespace, name)
    handover.demand_import(actor, repository)
    made = [weights.import_alias(repository=repository, record=one, actor=actor) for one in body.aliases]
    return Added(added=sum(made))


@router.post(f"{_ONE}/lineage", response=Added)
def import_lineage(request: HttpRequest, kind: Kind, namespace: str, name: str, body: Edges) -> Added:
    """A source that is not here stays as words."""
    repository = repository_at(request, kind, namespace, name)
    return Added(added=weights.import_lineage(repository=repository, edges=body.edges, actor=api_actor(request)))


@router.post("/imports/models/{namespace}/{name}/versions/{segment:revision}/evaluations", response=Added)
def import_evaluation(request: HttpRequest, namespace: str, name: str, revision: str, body: EvaluationRecord) -> Added:
    """On a dataset version that is here."""
    version = version_in(repository_at(request, Kind.MODELS, namespace, name), revision)
    return Added(added=weights.import_evaluation(version=version, record=body, actor=api_actor(request)))


@router.get(f"{_HOME}/versions/{{segment:revision}}/files", response=Page[FileRecord])
def list_files(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    revision: str,
    cursor: str = "",
    limit: int = 1000,
) -> dict[str, Any]:
    """Every file of a version with its SHA-256, by path; the cursor is the path to go on after."""
    version = version_at(request, kind, namespace, name, revision)
    files, following = handover.files_at(version, after=cursor.replace("\0", ""), limit=limit)
    return {"items": files, "next": following}


@router.get(
    "/models/{namespace}/{name}/versions/{segment:revision}/evaluations/{int:number}/record", response=EvaluationRecord
)
def get_evaluation_record(
    request: HttpRequest, namespace: str, name: str, revision: str, number: int
) -> EvaluationRecord:
    """All of an evaluation as it was reported, resamples and pictures included."""
    actor = api_actor(request)
    version = version_in(repository_at(request, Kind.MODELS, namespace, name), revision)
    return weights.evaluation_record(find_evaluation(version, number, actor), actor)


def _record(header: dict[str, Any]) -> VersionRecord:
    """Raises: InvalidInputError, with what is wrong in the header."""
    try:
        return VersionRecord.model_validate(header)
    except ValidationError as error:
        raise InvalidInputError(f"The header of the version is malformed: {faults_in_words(error)}.") from error
