"""Looking around in a version: folders, paths, history."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.hub.http import expanded, flag, hub_view, page_response
from steelyard_platform.hub.records import commit_record, tree_record
from steelyard_platform.repos import tree as trees
from steelyard_platform.repos.addresses import ENCODED_SLASH
from steelyard_platform.repos.models import Entry, Version
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve

_PAGE = 1000
_MAX_PATHS = 10_000


@hub_view("GET")
def tree(
    request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str, folder: str = ""
) -> HttpResponseBase:
    snapshot = resolve(find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.SEE), revision)
    folder = folder.replace(ENCODED_SLASH, "/").strip("/")
    items, cursor = trees.page_of_tree(
        snapshot.version,
        folder=folder,
        recursive=flag(request, "recursive"),
        after=request.GET.get("cursor", ""),
        limit=_PAGE,
    )
    commits = _last_commits(snapshot.version, items) if flag(request, "expand") else {}
    records = [tree_record(item, commits.get(item.path)) for item in items]
    return page_response(request, records, cursor)


@hub_view("POST")
def paths_info(
    request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str
) -> HttpResponseBase:
    """Files and folders by name; what is not there is left out."""
    snapshot = resolve(find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.SEE), revision)
    paths, expand = _asked_paths(request)
    entries = trees.entries_for_paths(snapshot.version, paths)
    items: list[Entry | trees.Folder] = []
    for path in paths:
        if path in entries:
            items.append(entries[path])
        elif _is_folder(snapshot.version, path):
            items.append(trees.Folder(path))
    commits = _last_commits(snapshot.version, items) if expand else {}
    records = [tree_record(item, commits.get(item.path)) for item in items]
    return JsonResponse(records, safe=False)


@hub_view("GET")
def list_commits(
    request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str
) -> HttpResponseBase:
    """The history of a version, newest first: its branch, and on into the branch that came from."""
    snapshot = resolve(find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.SEE), revision)
    start: Version | None = snapshot.version
    if cursor := request.GET.get("cursor"):
        start = resolve(snapshot.repository, cursor).version
    history: list[Version] = []
    while start is not None and len(history) <= _PAGE:
        own = Version.objects.filter(branch=start.branch, number__lte=start.number).select_related("branch")
        history += own.order_by("-number")[: _PAGE + 1 - len(history)]
        start = start.branch.base if start.branch.sees_base else None
    following = history[_PAGE].commit_id if len(history) > _PAGE else None
    formatted = "formatted" in expanded(request)
    records = [commit_record(version, formatted=formatted) for version in history[:_PAGE]]
    return page_response(request, records, following)


def _asked_paths(request: HttpRequest) -> tuple[list[str], bool]:
    """As a form (the Python client) or as JSON (others)."""
    if request.content_type == "application/json":
        try:
            body = json.loads(request.body)
            paths, expand = list(map(str, body.get("paths", []))), bool(body.get("expand"))
        except (ValueError, AttributeError, TypeError) as error:
            raise InvalidInputError("Send {'paths': [...], 'expand': false}.") from error
    else:
        paths, expand = request.POST.getlist("paths"), request.POST.get("expand", "").lower() == "true"
    if len(paths) > _MAX_PATHS:
        raise InvalidInputError(f"At most {_MAX_PATHS} paths at once.")
    return [path.strip("/") for path in paths], expand


def _is_folder(version: Version | None, path: str) -> bool:
    prefix = f"{path}/"
    return trees.entries_at(version).filter(path__gte=prefix, path__lt=prefix[:-1] + "0").exists()


def _last_commits(version: Version | None, items: list[Entry | trees.Folder]) -> dict[str, Version]:
    """The version that last changed each of these, by path; a folder changes with whatever is in it."""
    if version is None:
        return {}
    numbers = trees.last_changes(version, [item.path for item in items if isinstance(item, trees.Folder)])
    numbers |= {item.path: item.added_in for item in items if isinstance(item, Entry)}
    found = Version.objects.filter(repository=version.repository_id, number__in=set(numbers.values()))
    by_number = {one.number: one for one in found}
    return {path: by_number[number] for path, number in numbers.items() if number in by_number}
