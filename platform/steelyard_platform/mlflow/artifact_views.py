"""`mlflow-artifacts/…`: artifacts by a stream or in parts to signed addresses; and `artifacts/list` of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from steelyard_contracts.errors import ForbiddenError, InvalidInputError
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.mlflow import artifacts as services
from steelyard_platform.mlflow.artifacts import Place, children, located
from steelyard_platform.mlflow.experiment_views import id_of
from steelyard_platform.mlflow.experiments import experiment_of
from steelyard_platform.mlflow.http import Answer, Asked, absolute, face
from steelyard_platform.mlflow.names import own_team
from steelyard_platform.mlflow.run_records import artifact_root
from steelyard_platform.mlflow.runs import find_run, project_of
from steelyard_platform.repos.addresses import ENCODED_SLASH
from steelyard_platform.repos.blobs import staging_key
from steelyard_platform.repos.receiving import begin_parts, finish_parts, receive
from steelyard_platform.storage.objects import Part
from steelyard_platform.storage.receiving import body_stream
from steelyard_platform.storage.services import object_store

_TICKET = "steelyard.mlflow.parts"
_MOST_PARTS = 10_000


@face("GET", "HEAD", "PUT", "DELETE", reads_body=False)
def artifact(request: HttpRequest, actor: Actor, asked: Asked, path: str) -> Answer:  # noqa: ARG001 - a view's signature
    place = located(actor, path.replace(ENCODED_SLASH, "/"))
    match request.method:
        case "PUT":
            services.demand_writing(place, actor)
            services.keep(place=place, blob=receive(place.project, body_stream(request)), actor=actor)
            return {}
        case "DELETE":
            services.delete(place=place, actor=actor)
            return {}
        case _:
            return services.serve(request, place, actor)


@face("GET")
def list_artifacts(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    """All of a folder: its client knows no pages."""
    place, after, files = located(actor, asked.needed("path")), "", list[dict[str, Any]]()
    while True:
        page, after = children(place, after=after)
        files += page
        if not after:
            return {"files": files}


@face("GET")
def list_of_run(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    run = find_run(asked.run_id(), actor)
    root = artifact_root(id_of(experiment_of(project_of(run)), own_team(actor)), run)
    place = located(actor, f"{root.removeprefix('mlflow-artifacts:/')}/{asked.text('path')}")
    files, following = children(place, after=asked.text("page_token"), named_in_full=True)
    return {"root_uri": root, "files": files, **({"next_page_token": following} if following else {})}


@face("GET")
def get_of_run(request: HttpRequest, actor: Actor, asked: Asked) -> HttpResponseBase:
    run = find_run(asked.run_id(), actor)
    return services.serve(request, located(actor, f"0/{run.pk.hex}/artifacts/{asked.needed('path')}"), actor)


@face("POST")
def create_parts(request: HttpRequest, actor: Actor, asked: Asked, path: str = "") -> dict[str, Any]:
    """Addresses to PUT the parts to; what they make is no artifact before `complete`."""
    place, count = _target(actor, path, asked), asked.whole("num_parts")
    if not 0 < count <= _MOST_PARTS:
        raise InvalidInputError(f"A file comes in 1 to {_MOST_PARTS} parts, not in {count}.", parameter="num_parts")
    key, upload = begin_parts(place.project)
    store, seconds = object_store(), settings.ENVIRONMENT.signed_url_seconds
    addresses = (absolute(request, store.signed_part(key, upload, part, seconds)) for part in range(1, count + 1))
    return {
        "upload_id": signing.dumps({"key": key, "upload": upload, "by": actor.name}, salt=_TICKET),
        "credentials": [
            {"url": address, "part_number": part, "headers": {}} for part, address in enumerate(addresses, start=1)
        ],
    }


@face("POST")
def complete_parts(request: HttpRequest, actor: Actor, asked: Asked, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - as above
    place = _target(actor, path, asked)
    ticket = _ticket(place, asked, actor)
    parts = [Part(one.whole("part_number"), one.text("etag")) for one in asked.items("parts")]
    blob = finish_parts(place.project, key=ticket["key"], upload=ticket["upload"], parts=parts)
    services.keep(place=place, blob=blob, actor=actor)
    return {}


@face("POST")
def abort_parts(request: HttpRequest, actor: Actor, asked: Asked, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - as above
    ticket = _ticket(_target(actor, path, asked), asked, actor)
    object_store().abort_parts(ticket["key"], ticket["upload"])
    return {}


def _target(actor: Actor, folder: str, asked: Asked) -> Place:
    """The address names a folder, and the body the file, by its path on the client's disk."""
    place = located(actor, folder.replace(ENCODED_SLASH, "/"))
    name = asked.needed("path").replace("\\", "/").rstrip("/").rpartition("/")[2]
    place = replace(place, path=services.checked(f"{place.path}/{name}"))
    services.demand_writing(place, actor)
    return place


def _ticket(place: Place, asked: Asked, actor: Actor) -> dict[str, str]:
    try:
        ticket: dict[str, str] = signing.loads(
            asked.needed("upload_id"), salt=_TICKET, max_age=settings.ENVIRONMENT.signed_url_seconds
        )
    except signing.BadSignature as error:
        raise ForbiddenError("This upload is not known, or has expired; begin it again.") from error
    if ticket["by"] != actor.name or not ticket["key"].startswith(staging_key(place.project, "")):
        raise ForbiddenError("This upload was begun by somebody else, or for another project.")
    return ticket
