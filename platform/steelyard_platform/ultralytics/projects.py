"""Projects: model repositories, in the words of this client's SDK."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.accounts.services import team_named
from steelyard_platform.jobs import tracking
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import find_repository, visible_repositories
from steelyard_platform.repos.services import create_repository, delete_repository
from steelyard_platform.ultralytics import reports
from steelyard_platform.ultralytics.describing import describe, refuse_others, renamed, visibility_of
from steelyard_platform.ultralytics.http import NotHereError, facade_view, json_body, limit_of, signed_in, text_of
from steelyard_platform.ultralytics.records import DELETED, model_records, project_records
from steelyard_platform.ultralytics.starts import own_namespace

_MOST = 500
_SHOWN_MODELS = 100


def find_project(request: HttpRequest, owner: str, project: str) -> tuple[Actor, Repository]:
    """Raises: AuthenticationError; as `find_repository`."""
    actor = signed_in(request)
    return actor, find_repository(actor, RepositoryKind.MODEL, f"{owner}/{project}")


def _list(request: HttpRequest, owner: str) -> HttpResponseBase:
    actor = signed_in(request)
    rows = visible_repositories(actor).filter(kind=RepositoryKind.MODEL, team__name__iexact=owner)
    found = list(rows.order_by("-updated_at", "pk")[: limit_of(request, default=100, most=_MOST)])
    return JsonResponse({"projects": project_records(found), "total": rows.count()})


def _create(request: HttpRequest) -> HttpResponseBase:
    actor, body = signed_in(request), json_body(request)
    refuse_others(body)
    team = team_named(text_of(body, "owner", own_namespace(actor)))
    name = reports.slug_of(text_of(body, "project", body.get("name")), "project")
    kind, public = RepositoryKind.MODEL, visibility_of(body)
    repository = create_repository(team=team, name=name, kind=kind, actor=actor, public=public)
    describe(repository, body, actor)
    answer = {"id": str(repository.pk), "owner": team.name, "project": repository.name}
    return JsonResponse(answer, status=201)


def _retrieve(request: HttpRequest, owner: str, project: str) -> HttpResponseBase:
    actor, repository = find_project(request, owner, project)
    runs = tracking.runs_of(repository, actor).exclude(run__tags__has_key=DELETED).order_by("-created_at", "-pk")
    (record,) = project_records([repository])
    return JsonResponse(
        {
            "project": {**record, "metadata": {}},
            "models": model_records(list(runs[:_SHOWN_MODELS]), repository),
            "isOwner": may(actor, Action.MANAGE, repository.resource),
        }
    )


def _update(request: HttpRequest, owner: str, project: str) -> HttpResponseBase:
    actor, repository = find_project(request, owner, project)
    body = json_body(request)
    refuse_others(body)
    describe(repository, body, actor)
    repository = renamed(repository, body, actor)
    return JsonResponse({"success": True, "project": repository.name})


def _delete(request: HttpRequest, owner: str, project: str) -> HttpResponseBase:
    actor, repository = find_project(request, owner, project)
    runs = tracking.runs_of(repository, actor).exclude(run__tags__has_key=DELETED).count()
    delete_repository(repository=repository, actor=actor)
    return JsonResponse({"success": True, "cascadedModels": runs})


def _clone(request: HttpRequest, owner: str, project: str) -> HttpResponseBase:
    find_project(request, owner, project)
    raise NotHereError("A project is not copied here; steelyard export and import move one whole.")


of_owner = facade_view(get=_list)
all_of_them = facade_view(post=_create)
one = facade_view(get=_retrieve, patch=_update, delete=_delete)
clone = facade_view(post=_clone)
