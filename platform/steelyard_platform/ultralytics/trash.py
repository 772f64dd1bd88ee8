"""What was deleted and can be brought back: projects and datasets, and models by the versions that they saved."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import RUN, WITH_RUN
from steelyard_platform.repos.models import TrashedAs, TrashItem, Version
from steelyard_platform.repos.paging import whole_number
from steelyard_platform.repos.restoring import empty, restore
from steelyard_platform.repos.trash import due_at, visible_items
from steelyard_platform.ultralytics.http import NotHereError, facade_view, json_body, limit_of, signed_in, text_of
from steelyard_platform.ultralytics.records import DELETED, moment, project_of
from steelyard_platform.ultralytics.weights import branch_of, twin_branches_of

_TYPES = {"project": RepositoryKind.MODEL, "dataset": RepositoryKind.DATASET}
_MODEL, _ALL = "model", "all"
_PAGE, _MOST, _LAST_PAGE = 20, 100, 10_000


def _list(request: HttpRequest) -> HttpResponseBase:
    """By pages, each kind the newest first; of all kinds, models come before projects and datasets."""
    actor, kind = signed_in(request), request.GET.get("type", "all")
    limit, page = limit_of(request, default=_PAGE, most=_MOST), whole_number(request.GET.get("page", "1")) or 1
    start = (min(page, _LAST_PAGE) - 1) * limit
    runs = _deleted(actor) if kind in {_MODEL, _ALL} else Job.objects.none()
    rows = _repositories(actor, kind) if kind != _MODEL else TrashItem.objects.none()
    of_runs = runs.count()
    total = of_runs + rows.count()
    items = [_run_record(run) for run in runs[start : start + limit]]
    behind = max(start - of_runs, 0)
    items += [_record(item) for item in rows[behind : behind + limit - len(items)]]
    pages = -(-total // limit)
    return JsonResponse({"items": items, "total": total, "page": page, "limit": limit, "totalPages": pages})


def _repositories(actor: Actor, kind: str) -> QuerySet[TrashItem]:
    rows = visible_items(actor).filter(what=TrashedAs.REPOSITORY).order_by("-deleted_at", "-pk")
    if kind == _ALL:
        return rows
    if kind not in _TYPES:
        raise InvalidInputError(f"In the trash are projects, datasets and models; {kind[:60]!r} is none.", field="type")
    return rows.filter(repository__kind=_TYPES[kind])


def _record(item: TrashItem) -> dict[str, Any]:
    kind = next(name for name, kind in _TYPES.items() if kind == item.repository.kind)
    return {
        "_id": str(item.pk),
        "type": kind,
        "name": item.repository.name,
        "slug": item.repository.name,
        "trashedAt": moment(item.deleted_at),
        "daysRemaining": max((due_at(item) - timezone.now()).days, 0),
        "sizeBytes": item.size,
    }


# --- models --------------------------------------------------------------------------------------


def _deleted(actor: Actor) -> QuerySet[Job]:
    writing = [team for team, _ in actor.roles.items()]
    runs = Job.objects.filter(kind=RUN, run__tags__has_key=DELETED, team__in=writing, run__project__is_trashed=False)
    return runs.select_related(*WITH_RUN).order_by("-created_at", "-pk")


def _run_record(run: Job) -> dict[str, Any]:
    project = project_of(run)
    return {
        "_id": str(run.pk),
        "type": _MODEL,
        "name": run.run.name,
        "slug": run.run.name,
        "trashedAt": run.run.tags[DELETED],
        "parentProject": {"_id": str(project.pk), "name": project.name, "slug": project.name},
    }


def _items_of(run: Job) -> QuerySet[TrashItem]:
    """What went last comes first, as those before may stand on it."""
    saved = Version.objects.filter(job=run.pk)
    branches = [branch_of(run), *twin_branches_of(saved)]
    of_the_run = Q(what=TrashedAs.BRANCH, branch_name__in=branches) | Q(what=TrashedAs.VERSION, version__job=run.pk)
    rows = TrashItem.objects.filter(of_the_run, repository=run.run.project)
    return rows.select_related("repository__team", "version").order_by("-pk")


def _find_deleted(key: str, actor: Actor) -> Job:
    try:
        run = _deleted(actor).filter(pk=UUID(key)).first()
    except ValueError:
        run = None
    if run is None:
        raise NotFoundError(f"There is no model {key[:60]!r} in the trash, or you may not see it.")
    demand(actor, Action.MANAGE, project_of(run).resource)
    return run


# --- back, or gone -------------------------------------------------------------------------------


def _restore(request: HttpRequest) -> HttpResponseBase:
    actor, body = signed_in(request), json_body(request)
    key, kind = text_of(body, "id"), text_of(body, "type")
    if kind == _MODEL:
        run = _find_deleted(key, actor)
        with transaction.atomic():
            for item in _items_of(run):
                restore(item=item, actor=actor)
            tracking.update_run(run=run, actor=actor, tags={DELETED: None})
    else:
        restore(item=_find(key, kind, actor), actor=actor)
    return JsonResponse({"success": True})


def _empty(request: HttpRequest) -> HttpResponseBase:
    actor, body = signed_in(request), json_body(request)
    if body.get("all"):
        raise NotHereError("The trash is emptied one by one here; name what is to go for good by its id and type.")
    key, kind = text_of(body, "id"), text_of(body, "type")
    items = list(_items_of(_find_deleted(key, actor))) if kind == _MODEL else [_find(key, kind, actor)]
    for item in items:
        empty(item=item, actor=actor)
    return JsonResponse({"success": True, "deletedCount": len(items)})


def _find(key: str, kind: str, actor: Actor) -> TrashItem:
    """By its own number, or by the id that the project or dataset has."""
    number = whole_number(key)
    named = {"pk": number} if number is not None else {"repository": key}
    try:
        item = _repositories(actor, kind).filter(**named).first()
    except (ValidationError, ValueError):
        item = None
    if item is None:
        raise NotFoundError(f"There is no {kind[:60]} {key[:60]!r} in the trash, or you may not see it.")
    return item


everything = facade_view(get=_list, post=_restore, delete=_empty)
