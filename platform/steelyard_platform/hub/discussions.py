"""Proposals in the Hub's words: pull requests, without the discussions that the Hub has around them."""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.hub.http import date, hub_view, json_body, text_field
from steelyard_platform.repos.models import Branch, Proposal, Repository, Version
from steelyard_platform.repos.proposals import PREFIX, open_proposal
from steelyard_platform.repos.queries import find_repository

_PAGE = 50
_LONGEST_NUMBER = 9
_MOST_EVENTS = 1000
# A proposal stays open here until its branch is deleted.
_STATUS = "open"


@hub_view("GET", "POST")
def discussions(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    if request.method == "POST":
        return _open(request, kind, f"{namespace}/{name}")
    repository = find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.SEE)
    rows = _proposals(repository).order_by("-number")
    if author := request.GET.get("author"):
        rows = rows.filter(author_name=author)
    if request.GET.get("type") == "discussion" or request.GET.get("status") == "closed":
        rows = rows.none()
    page = request.GET.get("p", "0")
    if not page.isdecimal() or len(page) > _LONGEST_NUMBER:
        raise InvalidInputError(f"The page must be a number, not {page[:40]!r}.", field="p")
    start = int(page) * _PAGE
    found = [_record(row) for row in rows[start : start + _PAGE]]
    return JsonResponse({"discussions": found, "count": rows.count(), "start": start})


def _open(request: HttpRequest, kind: RepositoryKind, full_name: str) -> HttpResponseBase:
    actor, body = api_actor(request), json_body(request)
    repository = find_repository(actor, kind, full_name, Action.PROPOSE)
    if body.get("pullRequest") is not True:
        raise InvalidInputError(
            "Steelyard keeps no discussions, only proposals: send 'pullRequest': true.", field="pullRequest"
        )
    proposal = open_proposal(
        repository=repository,
        title=text_field(body, "title"),
        description=str(body.get("description") or ""),
        actor=actor,
    )
    return JsonResponse({"num": proposal.number, "url": f"{repository.page}/discussions/{proposal.number}"})


@hub_view("GET")
def discussion(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, number: int) -> HttpResponseBase:
    repository = find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.SEE)
    proposal = _proposals(repository).filter(number=number).first()
    branches = Branch.objects.filter(repository=repository, name=f"{PREFIX}{number}").select_related("base__branch")
    found = branches.first()
    if proposal is None or found is None:
        raise NotFoundError(f"{repository.full_name} has no proposal {number}.", number=number)
    base = found.base.branch.name if found.base else DEFAULT_REVISION
    base = DEFAULT_REVISION if base.startswith("refs/") else base  # it was squashed meanwhile
    return JsonResponse(
        {
            **_record(proposal),
            "changes": {"base": f"refs/heads/{base}"},
            "filesWithConflicts": [],
            "events": _events(proposal, found),
        }
    )


def _proposals(repository: Repository) -> QuerySet[Proposal]:
    name = Concat(Value(PREFIX), Cast(OuterRef("number"), CharField()))
    branch = Branch.objects.filter(repository=repository, name=name)
    return Proposal.objects.filter(Exists(branch), repository=repository).select_related("repository__team")


def _record(proposal: Proposal) -> dict[str, Any]:
    return {
        "num": proposal.number,
        "title": proposal.title,
        "author": {"name": proposal.author_name},
        "createdAt": date(proposal.created_at),
        "status": _STATUS,
        "isPullRequest": True,
        "repo": {"name": proposal.repository.full_name, "type": proposal.repository.kind},
    }


def _events(proposal: Proposal, branch: Branch) -> list[dict[str, Any]]:
    """What was said when it was opened, and each commit since."""
    author, opened = {"name": proposal.author_name}, date(proposal.created_at)
    comment = {"edited": False, "hidden": False, "latest": {"raw": proposal.description}}
    versions = Version.objects.filter(branch=branch).order_by("number")[:_MOST_EVENTS]
    return [
        {"id": f"{proposal.pk}-opened", "type": "comment", "createdAt": opened, "author": author, "data": comment},
        *(
            {
                "id": version.commit_id,
                "type": "commit",
                "createdAt": date(version.created_at),
                "author": {"name": version.author_name},
                "data": {"subject": version.title, "oid": version.commit_id},
            }
            for version in versions
        ),
    ]
