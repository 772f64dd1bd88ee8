"""Deleting, the trash, and expiry: what a deletion would break before the button, and the way back after it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import InvalidInputError, RevisionNotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.pages.repositories import repository_context
from steelyard_platform.repos import expiry, restoring, services, trash
from steelyard_platform.repos.deletion import foresee_repository, foresee_version
from steelyard_platform.repos.models import Repository, TrashedAs, TrashItem, Version
from steelyard_platform.repos.paging import page_of
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve

_PAGE = 50
_MOST_DIGITS = 9


@page
def delete_version(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    """What would go and what it would break; with POST it goes."""
    repository, actor = _find(request, kind, namespace, name), page_actor(request)
    version = _resolve(repository, revision)
    if request.method == "POST":
        services.delete_version(version=version, actor=actor)
        return HttpResponseRedirect(f"{repository.page}/versions")
    outlook = foresee_version(repository, version, actor)
    context = repository_context(request, repository, "versions") | {
        "outlook": outlook,
        "back": f"{repository.page}/versions/{version.label}",
    }
    return render(request, "repository/delete.html", context)


@page
def delete_repository(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """The same of a whole repository."""
    repository, actor = _find(request, kind, namespace, name), page_actor(request)
    if request.method == "POST":
        services.delete_repository(repository=repository, actor=actor)
        return HttpResponseRedirect("/trash")
    context = repository_context(request, repository, "storage") | {
        "outlook": foresee_repository(repository, actor),
        "back": f"{repository.page}/storage",
    }
    return render(request, "repository/delete.html", context)


@page
def everything(request: HttpRequest) -> HttpResponseBase:
    """`/trash`: what the reader may know of it, newest first."""
    signed_in(request)
    actor = page_actor(request)
    items = trash.visible_items(actor)
    found, following = page_of(items, field="deleted_at", cursor=request.GET.get("cursor"), limit=_PAGE)
    context = {
        "items": [_row(actor, item) for item in found],
        "following": following,
        "trashed": trash.held_by_trash(trash.visible_trash(actor)),
        "days": trash.kept_for().days,
    }
    return render(request, "trash.html", context)


def _row(actor: Actor, item: TrashItem) -> dict[str, object]:
    return {
        "item": item,
        "due_at": trash.due_at(item),
        "may_restore": trash.may_restore(actor, item),
        "may_empty": trash.may_empty(actor, item),
        "takes_a_name": item.what != TrashedAs.VERSION,
    }


@page
@require_POST
def restore(request: HttpRequest, item: int) -> HttpResponseBase:
    actor = page_actor(request)
    found = trash.find_item(actor, item)
    restoring.restore(item=found, actor=actor, name=request.POST.get("name", "").strip() or None)
    repository = Repository.objects.select_related("team").get(pk=found.repository_id)
    return HttpResponseRedirect(f"{repository.page}/versions")


@page
@require_POST
def empty(request: HttpRequest, item: int) -> HttpResponseBase:
    actor = page_actor(request)
    restoring.empty(item=trash.find_item(actor, item), actor=actor)
    return HttpResponseRedirect("/trash")


@page
def expiry_rule(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """The rule, and what another one would take now: `?keep_last=10&older_than_days=30`. POST keeps or removes it."""
    repository, actor = _find(request, kind, namespace, name, Action.MANAGE), page_actor(request)
    if request.method == "POST":
        if "remove" in request.POST:
            expiry.remove_rule(repository=repository, actor=actor)
        else:
            expiry.set_rule(repository=repository, wanted=_wanted(request.POST), actor=actor)
        return HttpResponseRedirect(f"{repository.page}/expiry")
    rule = expiry.rule_of(repository)
    asked = _wanted(request.GET) if "keep_last" in request.GET else None
    context = repository_context(request, repository, "storage") | {
        "rule": rule,
        "asked": asked,
        "shown": asked or rule or expiry.Wanted(10, 30),
        "foreseen": expiry.foresee(repository, asked, actor) if asked else None,
    }
    return render(request, "repository/expiry.html", context)


def _wanted(form: QueryDict) -> expiry.Wanted:
    """Raises: InvalidInputError."""
    numbers = [form.get("keep_last", "").strip(), form.get("older_than_days", "").strip() or "0"]
    if not all(number.isdecimal() and len(number) <= _MOST_DIGITS for number in numbers):
        raise InvalidInputError("How many versions and how many days are whole numbers.")
    return expiry.Wanted(*map(int, numbers))


def _find(request: HttpRequest, kind: str, namespace: str, name: str, action: Action = Action.SEE) -> Repository:
    return find_repository(page_actor(request), RepositoryKind(kind), f"{namespace}/{name}", action)


def _resolve(repository: Repository, revision: str) -> Version:
    found = resolve(repository, revision).version
    if found is None:
        raise RevisionNotFoundError(f"{repository.full_name} is empty.", revision=revision)
    found.repository = repository
    return found
