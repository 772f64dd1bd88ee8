"""Branches and tags; aliases are listed among the tags, which is what a client may use them as."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.hub.http import flag, hub_view, json_body, text_field
from steelyard_platform.repos import services
from steelyard_platform.repos.models import Alias, Branch, Tag
from steelyard_platform.repos.proposals import PREFIX
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import ALIAS_PREFIX, resolve, root_id, tip_of


@hub_view("GET")
def list_refs(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    repository = find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.SEE)
    branches = Branch.objects.filter(repository=repository).select_related("head", "base").order_by("pk")
    tags = Tag.objects.filter(repository=repository).select_related("version").order_by("name")
    aliases = Alias.objects.filter(repository=repository).select_related("version").order_by("name")
    record = {
        "branches": [
            {
                "name": branch.name,
                "ref": f"refs/heads/{branch.name}",
                "targetCommit": tip.commit_id if (tip := tip_of(branch)) else root_id(repository),
            }
            for branch in branches
            if not branch.name.startswith("refs/")
        ],
        "converts": [],
        "tags": [
            {"name": one.name, "ref": f"{prefix}{one.name}", "targetCommit": one.version.commit_id}
            for prefix, names in (("refs/tags/", tags), (ALIAS_PREFIX, aliases))
            for one in names
        ],
    }
    if flag(request, "include_prs"):
        record["pullRequests"] = [
            {
                "name": branch.name,
                "ref": branch.name,
                "targetCommit": tip.commit_id if (tip := tip_of(branch)) else root_id(repository),
            }
            for branch in branches
            if branch.name.startswith(PREFIX)
        ]
    return JsonResponse(record)


@hub_view("POST", "DELETE")
def branch(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str) -> HttpResponseBase:
    actor = api_actor(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}")
    if request.method == "DELETE":
        services.delete_branch(repository=repository, name=revision, actor=actor)
        return HttpResponse(status=200)
    start = resolve(repository, str(json_body(request).get("startingPoint") or DEFAULT_REVISION))
    services.create_branch(repository=repository, name=revision, start=start, actor=actor)
    return HttpResponse(status=200)


@hub_view("POST", "DELETE")
def tag(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str) -> HttpResponseBase:
    """POST names the revision to tag in the address, DELETE the tag itself."""
    actor = api_actor(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}")
    if request.method == "DELETE":
        services.delete_tag(repository=repository, name=revision, actor=actor)
        return HttpResponse(status=200)
    body = json_body(request)
    services.create_tag(
        repository=repository,
        name=text_field(body, "tag"),
        at=resolve(repository, revision),
        message=str(body.get("message") or ""),
        actor=actor,
    )
    return HttpResponse(status=200)
