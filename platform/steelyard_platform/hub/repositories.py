"""Creating, describing, moving and deleting repositories, in the Hub's words."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import (
    AlreadyExistsError,
    AuthenticationError,
    InvalidInputError,
    RepositoryNotFoundError,
)
from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.accounts.services import team_named
from steelyard_platform.hub.http import absolute, expanded, flag, hub_view, json_body, page_url, text_field
from steelyard_platform.hub.records import only, repository_record, sibling_records
from steelyard_platform.repos import services
from steelyard_platform.repos.admission import set_gate
from steelyard_platform.repos.beginnings import make_first_commit
from steelyard_platform.repos.card import faults_of, parse_metadata, split_card
from steelyard_platform.repos.models import Gate, Repository
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve

_NO_METADATA = "The card has no metadata: begin it with a YAML block between two '---' lines."


@hub_view("POST")
def create(request: HttpRequest) -> HttpResponseBase:
    actor, body = api_actor(request), json_body(request)
    kind, team, name = _kind(body), _team(body, actor), text_field(body, "name").rpartition("/")[2]
    try:
        repository = services.create_repository(team=team, name=name, kind=kind, public=_public(body), actor=actor)
    except AlreadyExistsError as error:
        known = find_repository(actor, kind, f"{team.name}/{name}", Action.SEE)
        # `exist_ok=True` reads the address out of the refusal.
        return JsonResponse({"error": error.message, "url": page_url(request, known)}, status=409)
    if django_settings.ENVIRONMENT.hub_first_commit:
        make_first_commit(repository, actor)
    return JsonResponse(
        {"url": page_url(request, repository), "name": repository.full_name, "id": str(repository.pk)},
        status=200,
    )


@hub_view("DELETE")
def delete(request: HttpRequest) -> HttpResponseBase:
    actor, body = api_actor(request), json_body(request)
    services.delete_repository(repository=_named(body, actor), actor=actor)
    return HttpResponse(status=200)


@hub_view("POST")
def move(request: HttpRequest) -> HttpResponseBase:
    actor, body = api_actor(request), json_body(request)
    repository = find_repository(actor, _kind(body), text_field(body, "fromRepo"))
    namespace, slash, name = text_field(body, "toRepo").partition("/")
    if not slash:
        raise InvalidInputError("The field 'toRepo' must be namespace/name.", field="toRepo")
    services.move_repository(repository=repository, team=team_named(namespace), name=name, actor=actor)
    return HttpResponse(status=200)


@hub_view("PUT")
def settings(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    actor, body = api_actor(request), json_body(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}")
    gate, public = _gate(body), _public(body)
    if gate is not None:
        set_gate(repository=repository, gate=gate, actor=actor)
    if public is not None:
        services.set_visibility(repository=repository, public=public, actor=actor)
    return JsonResponse({"private": not repository.is_public, "gated": repository.gate or False})


@hub_view("GET", "HEAD")
def info(
    request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str = DEFAULT_REVISION
) -> HttpResponseBase:
    repository = find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.SEE)
    if repository.full_name.lower() != f"{namespace}/{name}".lower():
        path = str(request.META.get("RAW_URI", request.get_full_path()))
        return HttpResponse(
            status=307,
            headers={"Location": absolute(request, path.replace(f"{namespace}/{name}", repository.full_name, 1))},
        )
    snapshot = resolve(repository, revision)
    record = repository_record(repository, snapshot)
    record["siblings"] = sibling_records(snapshot, with_blobs=flag(request, "blobs"))
    return JsonResponse(only(record, expanded(request)))


@hub_view("DELETE")
def unlike(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    """Nothing is liked here, so there is nothing to take back."""
    find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.SEE)
    return HttpResponse(status=200)


@hub_view("GET", "HEAD", "DELETE")
def like_or_info(request: HttpRequest, kind: RepositoryKind, namespace: str) -> HttpResponseBase:
    """`DELETE /api/models/gpt2/like` asks for a repository without a namespace; otherwise one is called `like`."""
    if request.method == "DELETE":
        raise RepositoryNotFoundError(f"There is no {kind} {namespace}: every name here is namespace/name.")
    return info(request, kind, namespace, "like")


@hub_view("POST")
def validate_yaml(request: HttpRequest) -> HttpResponseBase:
    """Whether a card's front matter is YAML that can be kept. Clients ask before they push a README.md."""
    content = json_body(request).get("content")
    front_matter, _ = split_card(content if isinstance(content, str) else "")
    metadata, fault = parse_metadata(front_matter)
    errors = [fault] if fault else faults_of(metadata)
    warnings = [] if front_matter.strip() else [_NO_METADATA]
    status = 400 if errors else 200
    if request.headers.get("Accept") == "text/plain":
        lines = [f"- Error: {error}" for error in errors] + [f"- Warning: {warning}" for warning in warnings]
        return HttpResponse("\n".join(lines), status=status, content_type="text/plain; charset=utf-8")
    found = {"errors": [{"message": error} for error in errors], "warnings": [{"message": one} for one in warnings]}
    return JsonResponse(found, status=status)


def _kind(body: dict[str, Any]) -> RepositoryKind:
    found = body.get("type") or "model"
    if found not in set(RepositoryKind):
        raise InvalidInputError(f"Steelyard keeps models and datasets; {found!r} is neither.", field="type")
    return RepositoryKind(found)


def _gate(body: dict[str, Any]) -> Gate | None:
    match body.get("gated"):
        case None:
            return None
        case False:
            return Gate.NONE
        case "auto" | "manual" as gate:
            return Gate(gate)
        case other:
            raise InvalidInputError(f"A gate is 'auto', 'manual' or false, not {other!r}.", field="gated")


def _public(body: dict[str, Any]) -> bool | None:
    """`visibility` from today's clients, `private` from older ones; None when neither says."""
    match body.get("visibility"), body.get("private"):
        case "public", _:
            return True
        case "private", _:
            return False
        case None, bool() as private:
            return not private
        case None, None:
            return None
        case other, _:
            raise InvalidInputError(f"A repository is private or public, not {other!r}.", field="visibility")


def _team(body: dict[str, Any], actor: Actor) -> Team:
    """The namespace to create in: as named, or the caller's own. A team one is no member of looks like none."""
    if actor.is_anonymous:
        raise AuthenticationError("Invalid credentials in Authorization header")
    namespace = body.get("organization") or text_field(body, "name").rpartition("/")[0] or actor.name
    return team_named(str(namespace))


def _named(body: dict[str, Any], actor: Actor) -> Repository:
    name = text_field(body, "name")
    full_name = name if "/" in name else f"{body.get('organization') or actor.name}/{name}"
    return find_repository(actor, _kind(body), full_name)
