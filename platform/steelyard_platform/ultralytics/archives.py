"""Archives of pictures for a dataset: promised an address, PUT there, and unpacked by a job into a version.

upload/signed-url {assetType: datasets} -> PUT -> datasets/{owner}/{dataset}/ingest {sessionId}
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import ConflictError, InvalidInputError, NotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.jobs import archives
from steelyard_platform.jobs.models import Archive
from steelyard_platform.repos.models import Blob, Repository, Version
from steelyard_platform.repos.queries import find_repository, visible_repositories
from steelyard_platform.ultralytics.http import NotHereError, facade_view, json_body, signed_in, text_of
from steelyard_platform.ultralytics.models import Upload
from steelyard_platform.ultralytics.records import moment

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")
# What `conflictPolicy` says of files that are there already. Unsaid, the new ones take their place: what they replace
# stays in the version before.
_KEEPS = {"skip": True, "replace": False}
_NOT_READ = ("sourceUrl", "reference", "classMapping", "imageMetadata", "targetSplit")


def promise(asset: str, filename: str, actor: Actor) -> Upload:
    """A place for one archive. Raises: NotFoundError, ForbiddenError, InvalidInputError."""
    repository = _dataset(asset, actor)
    demand(actor, Action.WRITE, repository.resource)
    name = _NOT_IN_NAME.sub("-", filename.replace("\\", "/").rpartition("/")[2]).strip("-.")[-100:]
    archives.check_name(name)
    with transaction.atomic():
        Upload.give_up_old()
        upload = Upload.objects.create(repository=repository, path=name, token_id=actor.token_id)
        audit.record(actor, "promise upload", repository.full_name, path=name)
    return upload


def keep(upload: Upload, blob: Blob) -> None:
    """An archive has arrived. The same one again changes nothing; another takes its place."""
    if upload.archive is None or upload.archive.blob_id != blob.pk:
        upload.archive = archives.hold(upload.repository, blob, upload.path)
    upload.size = blob.size
    upload.save(update_fields=["archive", "size"])


def unpacking(repository: Repository, newest: Version | None) -> dict[str, Any]:
    """What a dataset's record says while its newest archive is no version: `processing`, or why it failed."""
    job = archives.newest_unpacking(repository)
    if job is None or JobState(job.state) is JobState.SUCCEEDED:
        return {}
    if job.finished_at is None:
        return {"status": "processing", "lastIngestJobId": str(job.pk)}
    if newest is not None and newest.created_at > job.created_at:
        return {}
    fault = {"message": job.error or f"The job was {job.state}.", "timestamp": moment(job.finished_at)}
    return {"status": "failed", "lastIngestJobId": str(job.pk), "processingError": fault}


def _dataset(asset: str, actor: Actor) -> Repository:
    found = visible_repositories(actor).filter(kind=RepositoryKind.DATASET).select_related("team")
    try:
        repository = found.filter(pk=asset).first()
    except (ValidationError, ValueError):
        repository = None
    if repository is None:
        raise NotFoundError(f"There is no dataset with the id {asset[:60]!r}.")
    return repository


def _ingest(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    actor, body = signed_in(request), json_body(request)
    repository = find_repository(actor, RepositoryKind.DATASET, f"{owner}/{dataset}", Action.WRITE)
    keeps = _keeps(body, repository.full_name)
    archive = _arrived(text_of(body, "sessionId"), repository)
    job = archives.unpack(archive, actor, keep=keeps)
    return JsonResponse({"jobId": str(job.pk), "status": "queued"})


ingest = facade_view(post=_ingest)


def _keeps(body: dict[str, Any], dataset: str) -> bool:
    """Raises: NotHereError for what is not done here, InvalidInputError."""
    if asked := [name for name in _NOT_READ if body.get(name)]:
        raise NotHereError(
            f"{', '.join(asked)}: not done here. Lay the archive out in splits (train/…, val/…, or YOLO's), or "
            f"push the folder: steelyard push FOLDER datasets:/{dataset}."
        )
    policy = str(body.get("conflictPolicy") or "replace")
    if policy == "keep_both":
        raise NotHereError("Files of one name are not kept side by side here; say skip or replace.")
    if policy not in _KEEPS:
        raise InvalidInputError(f"'conflictPolicy' is skip or replace, not {policy[:60]!r}.", field="conflictPolicy")
    return _KEEPS[policy]


def _arrived(session: str, repository: Repository) -> Archive:
    """Raises: NotFoundError; ConflictError where nothing has come, or it was unpacked and forgotten."""
    found = Upload.objects.filter(repository=repository, run=None).select_related("archive")
    try:
        upload = found.filter(pk=UUID(session)).first()
    except ValueError:
        upload = None
    if upload is None:
        raise NotFoundError(f"{repository.full_name} has no such upload, or it was given up; ask for a new address.")
    if upload.archive is None:
        raise ConflictError(
            f"{upload.path} was unpacked already; upload it again."
            if upload.size
            else "Nothing has arrived at this upload's address yet; PUT the archive to it, then ingest it."
        )
    return upload.archive
