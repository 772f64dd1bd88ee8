"""`model-versions/…`."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.mlflow import artifacts
from steelyard_platform.mlflow import registry as services
from steelyard_platform.mlflow.artifacts import Place
from steelyard_platform.mlflow.filters import VERSIONS, parse_filter, parse_order
from steelyard_platform.mlflow.http import Asked, face, limit_of, offset_of, token_for
from steelyard_platform.mlflow.names import find_model, own_team, shown_name
from steelyard_platform.mlflow.registering import Wish, origin_of, register
from steelyard_platform.mlflow.search import ordered, where
from steelyard_platform.mlflow.version_records import download_uri, records_of
from steelyard_platform.mlflow.webhooks import tell
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.services import delete_version

_PAGE, _LARGEST_PAGE = 10_000, 200_000
_COLUMNS = {
    "name": "shown", "version_number": "number", "run_id": "mlflow_note__run_id", "source": "mlflow_note__source",
    "created": "created_at", "updated": "changed",
}  # fmt: skip


def _named(asked: Asked, actor: Actor) -> Version:
    name = asked.needed("name")
    return services.find_version(find_model(actor, name), asked.written("version"), name)


def _answer(version: Version, actor: Actor, name: str) -> dict[str, Any]:
    again = services.find_version(version.repository, str(version.number), name)
    [record] = records_of([again], own_team(actor), name)
    return {"model_version": record}


@face("POST")
def create(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - a view's signature
    name = asked.needed("name")
    wish = Wish(
        source=asked.needed("source"),
        run_id=asked.text("run_id"),
        run_link=asked.text("run_link"),
        model_id=asked.text("model_id"),
        description=asked.text("description"),
        tags=asked.pairs("tags"),
    )
    return _answer(register(repository=find_model(actor, name), wish=wish, actor=actor), actor, name)


@face("GET")
def get(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    return _answer(_named(asked, actor), actor, asked.needed("name"))


@face("PATCH")
def update(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    version = _named(asked, actor)
    services.change_version(version=version, description=asked.text("description"), actor=actor)
    return _answer(version, actor, asked.needed("name"))


@face("DELETE")
def delete(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    version = _named(asked, actor)
    with transaction.atomic():
        delete_version(version=version, actor=actor)
        services.touch(version.repository, timezone.now())
    return {}


@face("POST")
def transition(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    version, stage = _named(asked, actor), asked.needed("stage")
    services.set_stage(
        version=version, stage=stage, archive_others=asked.flag("archive_existing_versions"), actor=actor
    )
    return _answer(version, actor, asked.needed("name"))


@face("POST")
def set_tag(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    version, key, value = _named(asked, actor), asked.needed("key"), asked.text("value")
    with transaction.atomic():
        services.tag_version(version=version, key=key, value=value, actor=actor)
        data = {"version": str(version.number), "key": key, "value": value}
        tell(version.repository, "model_version_tag.set", data)
    return {}


@face("DELETE")
def delete_tag(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    version, key = _named(asked, actor), asked.needed("key")
    with transaction.atomic():
        services.tag_version(version=version, key=key, value=None, actor=actor)
        tell(version.repository, "model_version_tag.deleted", {"version": str(version.number), "key": key})
    return {}


@face("GET")
def get_download_uri(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    return {"artifact_uri": download_uri(origin_of(_named(asked, actor), actor))}


@face("GET")
def get_artifact(request: HttpRequest, actor: Actor, asked: Asked) -> HttpResponseBase:
    path = artifacts.checked(asked.needed("path"))
    version = _named(asked, actor)
    return artifacts.serve(request, Place(version.repository, path, version=version), actor)


@face("GET", "POST")
def search(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    limit, offset = limit_of(asked, default=_PAGE, most=_LARGEST_PAGE), offset_of(asked)
    own = own_team(actor)
    rows = services.versions_among(actor).annotate(
        shown=shown_name(own, "repository__"), changed=Coalesce("mlflow_note__updated_at", "created_at")
    )
    for condition in parse_filter(asked.text("filter"), VERSIONS):
        rows = where(rows, condition, _COLUMNS, tags="mlflow_note__tags")
    orders = [parse_order(one, VERSIONS) for one in asked.texts("order_by")]
    default = ("shown", "-number") if orders else ("-changed", "shown", "-number")
    rows = ordered(rows, orders, _COLUMNS, default=default)
    found = list(rows[offset : offset + limit + 1])
    answer: dict[str, Any] = {"model_versions": records_of(found[:limit], own)}
    if len(found) > limit:
        answer["next_page_token"] = token_for(offset + limit)
    return answer
