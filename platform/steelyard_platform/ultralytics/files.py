"""What a `ul://` address leads to: the client asks by HEAD, is sent on, and fetches without any other credential.

    ul://team/datasets/name[@revision]     NDJSON, whose pictures are fetched one by one
    ul://team/project/model                a `.pt` file

The path of an address says what it serves, and its ticket that it may: the client keeps what it fetched under the path,
so the same version is not fetched twice. Weights in quarantine go out to those who write to the project, and only while
everything that is wrong with them is that they are a pickled network of this client's own classes.
"""

from __future__ import annotations

from urllib.parse import quote

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from steelyard_contracts.errors import ConflictError, ForbiddenError, UnavailableError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_contracts.tracking import RunSource
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos import tree
from steelyard_platform.repos.downloads import note_download
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.repos.revisions import Snapshot
from steelyard_platform.repos.serving import serve_entry
from steelyard_platform.ultralytics import ndjson
from steelyard_platform.ultralytics.http import absolute, facade_view, signed_in
from steelyard_platform.ultralytics.weights import Weights, find_weights
from steelyard_platform.weights.quarantine import check_download
from steelyard_platform.weights.trust import check_own_download

_TICKET = "steelyard.ultralytics.file"


# --- asking --------------------------------------------------------------------------------------


def _dataset(request: HttpRequest, namespace: str, name: str) -> HttpResponseBase:
    actor = signed_in(request)
    version = dataset_version(namespace, name, actor)
    return _sent_on(export_address(request, version, actor))


dataset = facade_view(head=_dataset, get=_dataset)


def _model(request: HttpRequest, namespace: str, project: str, model: str) -> HttpResponseBase:
    actor = signed_in(request)
    return _sent_on(weights_address(request, find_weights(f"{namespace}/{project}", model, actor), model, actor))


model = facade_view(head=_model, get=_model)


def _sent_on(address: str) -> HttpResponse:
    return HttpResponse(status=302, headers={"Location": address})


def dataset_version(namespace: str, name: str, actor: Actor) -> Version:
    """The version that is meant: of a training that has just begun, the one that it was pinned to.

    Raises: as `find_existing_version`.
    """
    plain, _, revision = name.partition("@")
    version = find_existing_version(actor, Ref(RepositoryKind.DATASET, namespace, plain, revision or None))
    if revision:
        return version
    mine = Job.objects.filter(run__source=RunSource.ULTRALYTICS, state=JobState.RUNNING, created_by=actor.user_id)
    newest = mine.filter(progress=0).order_by("-created_at").first()
    for pinned in (newest.spec.get("datasets") or []) if newest is not None else []:
        full_name, _, label = pinned.partition("@")
        if full_name == version.repository.full_name:
            return find_existing_version(actor, Ref(RepositoryKind.DATASET, namespace, plain, label))
    return version


def export_address(request: HttpRequest, version: Version, actor: Actor) -> str:
    """Raises: ConflictError while the dataset is being read; DatasetUnusableError; QuarantinedError."""
    check_download(Snapshot(version.repository, version), actor)
    try:
        ndjson.checked_summary(version)
    except UnavailableError as error:
        raise ConflictError(error.message) from error  # what this client takes for "not ready yet"
    note_download(version.repository, actor, request.META.get("REMOTE_ADDR", ""))
    repository = version.repository
    path = f"/ultralytics/exports/{repository.full_name}/{version.label}/{repository.name}.ndjson"
    return absolute(request, f"{path}?ticket={_sign(version, '')}")


def weights_address(request: HttpRequest, weights: Weights, model: str, actor: Actor) -> str:
    """Raises: QuarantinedError, BeingScannedError."""
    check_own_download(Snapshot(weights.repository, weights.version), weights.entry, actor)
    note_download(weights.repository, actor, request.META.get("REMOTE_ADDR", ""))
    path = f"/ultralytics/weights/{weights.repository.full_name}/{quote(model)}/{quote(weights.file_name)}"
    return absolute(request, f"{path}?ticket={_sign(weights.version, weights.entry.path)}")


# --- fetching ------------------------------------------------------------------------------------


def _weights(request: HttpRequest, rest: str) -> HttpResponseBase:  # noqa: ARG001 - the path is for the client
    version, path = _opened(request)
    return serve_entry(request, tree.entry_at(version, path))


weights = facade_view(get=_weights, head=_weights)


def _picture(request: HttpRequest, namespace: str, name: str, label: str, path: str) -> HttpResponseBase:
    version, _ = _opened(request)
    if (namespace, name, label) != (version.repository.team.name, version.repository.name, version.label):
        raise ForbiddenError("This ticket is for another version's pictures.")
    return serve_entry(request, tree.entry_at(version, path))


picture = facade_view(get=_picture, head=_picture)


def _export(request: HttpRequest, rest: str) -> HttpResponseBase:  # noqa: ARG001 - the path is for the client
    version, _ = _opened(request)
    ndjson.checked_summary(version)
    where = absolute(request, f"/ultralytics/pictures/{version.repository.full_name}/{version.label}")
    ticket = _sign(version, "")
    lines = ndjson.lines_of(version, lambda path: f"{where}/{quote(path)}?ticket={ticket}")
    body = () if request.method == "HEAD" else lines
    return StreamingHttpResponse(body, content_type="application/x-ndjson")


export = facade_view(get=_export, head=_export)


def _sign(version: Version, path: str) -> str:
    return signing.dumps([version.pk, path], salt=_TICKET)


def _opened(request: HttpRequest) -> tuple[Version, str]:
    """The version, and the one file of it that the ticket is for. Raises: ForbiddenError."""
    try:
        key, path = signing.loads(
            request.GET.get("ticket", ""), salt=_TICKET, max_age=settings.ENVIRONMENT.signed_url_seconds
        )
    except signing.BadSignature as error:
        raise ForbiddenError("This address is not valid, or has expired; ask for a new one.") from error
    live = Version.objects.filter(repository__is_trashed=False).select_related("repository__team", "branch")
    version = live.filter(pk=key).first()
    if version is None:
        raise ForbiddenError("This address is not valid any more: the version was deleted.")
    return version, path
