"""Weights on their way in: an address is asked for, the file is PUT to it, and is a version when the answer comes.

The client says nothing once a file has arrived, so the PUT itself commits it. The address is its own credential, and
what it does, it does with the rights of the token that asked for it, as they are when the file arrives.
"""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from steelyard_contracts.digests import is_sha256
from steelyard_contracts.errors import (
    ConflictError,
    DigestMismatchError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from steelyard_contracts.jobs import JobState
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand, may
from steelyard_platform.accounts.tokens import actor_for_token
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos.receiving import receive as receive_stream
from steelyard_platform.storage.receiving import body_stream
from steelyard_platform.ultralytics import archives, starts
from steelyard_platform.ultralytics.http import NotHereError, absolute, facade_view, json_body, signed_in, text_of
from steelyard_platform.ultralytics.models import Upload
from steelyard_platform.ultralytics.weights import SUFFIX, entry_of, save_checkpoint, save_result

_TICKET = "steelyard.ultralytics.upload"
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def _ask(request: HttpRequest) -> HttpResponseBase:
    """`models/upload` of the training client: where a checkpoint of a run goes."""
    actor, body = signed_in(request), json_body(request)
    run = starts.find(text_of(body, "project", ""), text_of(body, "name", ""), body.get("modelId"), actor)
    upload = promise(run, text_of(body, "filename"), actor)
    return JsonResponse({"uploadUrl": address_of(request, upload), "gcsPath": path_of(upload)})


ask = facade_view(post=_ask)


def _promise_to_sdk(request: HttpRequest) -> HttpResponseBase:
    """`upload/signed-url` of the SDK: for a model or a dataset that was made before."""
    actor, body = signed_in(request), json_body(request)
    kind, asset, filename = text_of(body, "assetType"), text_of(body, "assetId"), text_of(body, "filename")
    if kind == "models":
        upload = promise(starts.find("", "", asset, actor), filename, actor)
    elif kind == "datasets":
        upload = archives.promise(asset, filename, actor)
    else:
        raise NotHereError(f"Weights and archives of pictures are uploaded here, and {kind[:60]} are not.")
    expires = upload.created_at + timedelta(seconds=settings.ENVIRONMENT.signed_url_seconds)
    address = address_of(request, upload)
    named = {"sessionId": str(upload.pk), "uploadUrl": address, "expiresAt": expires.isoformat()}
    return JsonResponse({**named, "headers": {"Content-Type": "application/octet-stream"}})


promise_to_sdk = facade_view(post=_promise_to_sdk)


def _complete(request: HttpRequest) -> HttpResponseBase:
    """`upload/complete`: what arrived becomes the model's version on main, and the run that stands for it has ended.

    An archive stays as it is: `ingest` says what becomes of it.
    """
    actor, body = signed_in(request), json_body(request)
    upload = _session(text_of(body, "sessionId"), actor)
    digest = _digest_of(upload)
    if not digest:
        raise ConflictError("Nothing has arrived at this upload's address yet; PUT the file to it, then complete it.")
    checksum = str(body.get("checksum") or "").lower()
    if is_sha256(checksum) and checksum != digest:
        raise DigestMismatchError("What arrived is not what the checksum says; upload it again.", expected=checksum)
    if upload.run is not None and upload.version is not None and not JobState(upload.run.state).is_final:
        save_result(upload.run, upload.version, {}, actor)
        tracking.finish_run(run=upload.run, state=JobState.SUCCEEDED, actor=actor)
    return JsonResponse({"success": True, "file": {"size": upload.size, "contentType": "application/octet-stream"}})


complete = facade_view(post=_complete)


def _digest_of(upload: Upload) -> str:
    """Of what has arrived; empty when nothing has."""
    if upload.version is not None:
        return entry_of(upload.version).etag
    return upload.archive.blob_id if upload.archive is not None else ""


def _session(key: str, actor: Actor) -> Upload:
    """Raises: NotFoundError, also for one of a project that the actor may not write to."""
    try:
        upload = _uploads().filter(pk=UUID(key)).first()
    except ValueError:
        upload = None
    if upload is None or not may(actor, Action.WRITE, upload.repository.resource):
        raise NotFoundError("There is no such upload, or it was given up; ask for a new address.")
    return upload


def promise(run: Job, filename: str, actor: Actor) -> Upload:
    """A place for one file of the run. Raises: InvalidInputError, ForbiddenError; ConflictError once it ended."""
    project = run.run.project
    if project is None or project.is_trashed:
        raise ConflictError(f"The project of the run {run.run.name} was deleted; restore it from the trash.")
    demand(actor, Action.WRITE, project.resource)
    path = _NOT_IN_NAME.sub("-", filename.replace("\\", "/").rpartition("/")[2]).strip("-.")[:100]
    if not path.endswith(SUFFIX):
        raise InvalidInputError(f"A run uploads its weights as a {SUFFIX} file; {filename[:100]!r} is none.")
    if JobState(run.state).is_final:
        raise ConflictError(f"The run {run.run.name} is {run.state}; nothing more can be uploaded to it.")
    with transaction.atomic():
        Upload.give_up_old()
        upload = Upload.objects.create(repository=project, run=run, path=path, token_id=actor.token_id)
        audit.record(actor, "promise upload", project.full_name, job=str(run.pk), path=path)
    return upload


def address_of(request: HttpRequest, upload: Upload) -> str:
    ticket = signing.dumps(str(upload.pk), salt=_TICKET)
    return absolute(request, f"/ultralytics/uploads/{ticket}/{upload.path}")


def path_of(upload: Upload) -> str:
    """By this the client names the file once the run is complete."""
    return f"{upload.pk}/{upload.path}"


def uploaded(path: object, run: Job) -> Upload | None:
    """The upload that `path_of` named; the run's newest when it names none of its."""
    arrived = Upload.objects.filter(run=run, version__isnull=False, version__repository__is_trashed=False)
    arrived = arrived.select_related("version__repository__team", "version__branch")
    try:
        named = arrived.filter(pk=UUID(str(path).partition("/")[0])).first()
    except ValueError:
        named = None
    return named or arrived.order_by("-created_at").first()


def _receive(request: HttpRequest, ticket: str, filename: str) -> HttpResponseBase:  # noqa: ARG001 - for those who read logs
    upload = _opened(ticket)
    actor = actor_for_token(upload.token_id)
    demand(actor, Action.WRITE, upload.repository.resource)
    accept(upload, request, actor)
    return HttpResponse(status=200)


receive = facade_view(put=_receive)


def accept(upload: Upload, request: HttpRequest, actor: Actor) -> Upload:
    """Takes the body in and commits it. A second delivery of the file is answered as the first was."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    blob = receive_stream(upload.repository, body_stream(request))
    if declared.isdigit() and int(declared) != blob.size:
        raise DigestMismatchError(f"The upload has {blob.size} bytes, not the {declared} that were announced.")
    if not blob.size:
        raise InvalidInputError("The upload is empty; send the file.")
    if upload.run is None:
        archives.keep(upload, blob)
        return upload
    upload.version = save_checkpoint(upload.run, upload.repository, upload.path, blob, actor)
    upload.size = blob.size
    upload.save(update_fields=["version", "size"])
    return upload


def _uploads() -> QuerySet[Upload]:
    related = (
        "repository__team",
        "run__team",
        "run__run__project__team",
        "version__repository__team",
        "version__branch",
        "archive",
    )
    return Upload.objects.select_related(*related).filter(repository__is_trashed=False)


def _opened(ticket: str) -> Upload:
    """Raises: ForbiddenError."""
    try:
        key = signing.loads(ticket, salt=_TICKET, max_age=settings.ENVIRONMENT.signed_url_seconds)
    except signing.BadSignature as error:
        raise ForbiddenError("This upload's address is not valid, or has expired; ask for a new one.") from error
    upload = _uploads().filter(pk=key).first()
    if upload is None:
        raise ForbiddenError("This upload's address is not valid any more; ask for a new one.")
    return upload
