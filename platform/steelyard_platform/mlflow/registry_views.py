"""`registered-models/…`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from steelyard_contracts.errors import NotFoundError
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.mlflow import registry as services
from steelyard_platform.mlflow.filters import MODELS, parse_filter, parse_order
from steelyard_platform.mlflow.http import Asked, as_pairs, face, limit_of, millis, offset_of, token_for
from steelyard_platform.mlflow.names import find_model, name_for, own_team, shown_name
from steelyard_platform.mlflow.search import ordered, where
from steelyard_platform.mlflow.version_records import records_of
from steelyard_platform.mlflow.webhooks import CREATED, tell
from steelyard_platform.repos.models import Alias, Repository, Version
from steelyard_platform.repos.services import delete_alias
from steelyard_platform.weights.services import promote_version

_PAGE, _LARGEST_PAGE = 100, 1000
_COLUMNS = {"name": "shown", "created": "made", "updated": "changed"}
_NO_STAGE = Q(mlflow_note=None) | Q(mlflow_note__stage="None")


def models_as_records(models: Sequence[Repository], own: Team, name: str = "") -> list[dict[str, Any]]:
    """As MLflow shows them, with the newest version of each stage; `name`: how the client called the only one."""
    aliases: dict[UUID, list[dict[str, str]]] = defaultdict(list)
    rows = Alias.objects.filter(repository__in=[one.pk for one in models]).select_related("version").order_by("name")
    for alias in rows:
        aliases[alias.repository_id].append({"alias": alias.name, "version": str(alias.version.number)})
    newest = _newest_versions(models, own, name)
    return [_record(one, name or name_for(one, own), aliases[one.pk], newest[one.pk]) for one in models]


def model_record(repository: Repository, own: Team, name: str = "") -> dict[str, Any]:
    again = Repository.objects.select_related("team", "mlflow_registration").get(pk=repository.pk)
    [found] = models_as_records([again], own, name)
    return found


def _record(
    repository: Repository, name: str, aliases: list[dict[str, str]], latest: list[dict[str, Any]]
) -> dict[str, Any]:
    note = getattr(repository, "mlflow_registration", None)
    return {
        "name": name,
        "creation_timestamp": millis(note.created_at if note else repository.created_at),
        "last_updated_timestamp": millis(note.updated_at if note else repository.updated_at),
        "description": note.description if note else "",
        "tags": as_pairs(note.tags if note else {}),
        "aliases": aliases,
        "latest_versions": latest,
    }


def _newest_versions(models: Sequence[Repository], own: Team, name: str) -> dict[UUID, list[dict[str, Any]]]:
    """Three queries, however many models there are."""
    versions = Version.objects.exclude(branch__name__startswith="refs/pr/")
    newest = versions.filter(_NO_STAGE, repository=OuterRef("pk")).order_by("-number").values("pk")[:1]
    keys = [one.pk for one in models]
    plain = Repository.objects.filter(pk__in=keys).annotate(newest=Subquery(newest)).values_list("newest", flat=True)
    staged = versions.filter(repository__in=keys).exclude(_NO_STAGE).order_by("number")
    by_stage = {(row.repository_id, row.mlflow_note.stage): row.pk for row in staged.select_related("mlflow_note")}
    wanted = [*filter(None, plain), *by_stage.values()]
    rows = list(Version.objects.filter(pk__in=wanted).select_related("mlflow_note").order_by("-number"))
    homes = {one.pk: one for one in models}
    for row in rows:
        row.repository = homes[row.repository_id]
    found: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row, record in zip(rows, records_of(rows, own, name), strict=True):
        found[row.repository_id].append(record)
    return found


@face("POST")
def create(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - a view's signature
    name = asked.needed("name")
    tags, description = asked.pairs("tags"), asked.text("description")
    with transaction.atomic():
        made = services.create_model(name=name, description=description, tags=tags, actor=actor)
        if hasattr(made, "mlflow_experiment"):  # its repository was there before, and nobody was told
            tell(made, CREATED, {"tags": tags, "description": description})
    return {"registered_model": model_record(made, own_team(actor), name)}


@face("GET")
def get(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    name = asked.needed("name")
    return {"registered_model": model_record(find_model(actor, name), own_team(actor), name)}


@face("POST")
def rename(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    name, new = asked.needed("name"), asked.needed("new_name")
    moved = services.rename_model(repository=find_model(actor, name), new_name=new, actor=actor)
    return {"registered_model": model_record(moved, own_team(actor), new)}


@face("PATCH")
def update(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    name = asked.needed("name")
    found = find_model(actor, name)
    services.describe_model(repository=found, description=asked.text("description"), actor=actor)
    return {"registered_model": model_record(found, own_team(actor), name)}


@face("DELETE")
def delete(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    services.delete_model(repository=find_model(actor, asked.needed("name")), actor=actor)
    return {}


@face("POST")
def set_tag(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    found = find_model(actor, asked.needed("name"))
    services.tag_model(repository=found, key=asked.needed("key"), value=asked.text("value"), actor=actor)
    return {}


@face("DELETE")
def delete_tag(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    found = find_model(actor, asked.needed("name"))
    services.tag_model(repository=found, key=asked.needed("key"), value=None, actor=actor)
    return {}


@face("GET", "POST")
def search(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    limit, offset = limit_of(asked, default=_PAGE, most=_LARGEST_PAGE), offset_of(asked)
    own = own_team(actor)
    rows = services.registered_models(actor).annotate(
        shown=shown_name(own),
        made=Coalesce("mlflow_registration__created_at", "created_at"),
        changed=Coalesce("mlflow_registration__updated_at", "updated_at"),
    )
    for condition in parse_filter(asked.text("filter"), MODELS):
        rows = where(rows, condition, _COLUMNS, tags="mlflow_registration__tags")
    orders = [parse_order(one, MODELS) for one in asked.texts("order_by")]
    rows = ordered(rows, orders, _COLUMNS, default=("shown", "pk"))
    found = list(rows[offset : offset + limit + 1])
    answer: dict[str, Any] = {"registered_models": models_as_records(found[:limit], own)}
    if len(found) > limit:
        answer["next_page_token"] = token_for(offset + limit)
    return answer


@face("GET", "POST")
def latest_versions(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:  # noqa: ARG001 - as above
    name = asked.needed("name")
    record = model_record(find_model(actor, name), own_team(actor), name)
    stages = {services.STAGES.get(one.lower(), one) for one in asked.texts("stages")}
    latest = record["latest_versions"]
    return {"model_versions": [one for one in latest if not stages or one["current_stage"] in stages]}


@face("GET", "POST", "DELETE")
def alias(request: HttpRequest, actor: Actor, asked: Asked) -> dict[str, Any]:
    """One truth: what is moved here is moved everywhere, past the same gates."""
    name, alias_name = asked.needed("name"), asked.needed("alias")
    repository = find_model(actor, name, Action.READ)
    match request.method:
        case "POST":
            version = services.find_version(repository, asked.written("version"), name)
            promote_version(version=version, alias=alias_name, reason="", actor=actor)
            return {}
        case "DELETE":
            delete_alias(repository=repository, name=alias_name, reason="", actor=actor)
            return {}
    row = Alias.objects.filter(repository=repository, name=alias_name).select_related("version").first()
    if row is None:
        raise NotFoundError(f"Registered model alias {alias_name} not found.", alias=alias_name)
    version = services.find_version(repository, str(row.version.number), name)
    [record] = records_of([version], own_team(actor), name)
    return {"model_version": record}
