"""A repository's first page: its card, what was measured, how to use it; and the card's editor."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from steelyard_contracts.errors import InvalidInputError, StaleParentError, TooLargeError
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.weights import QuarantineState
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import WITH_RUN
from steelyard_platform.jobs.services import asked_for
from steelyard_platform.pages.chips import chips_of
from steelyard_platform.pages.datasets import dataset_content
from steelyard_platform.pages.markdown import MOST_SHOWN, card_html
from steelyard_platform.pages.rendering import page
from steelyard_platform.pages.repositories import newest_of_each_place, repository_context
from steelyard_platform.pages.snippets import TELLING, snippets
from steelyard_platform.pages.weights import inside_of
from steelyard_platform.repos import tree
from steelyard_platform.repos.card import card_text, parse_metadata, split_card
from steelyard_platform.repos.card_editing import check_card, edit_card
from steelyard_platform.repos.claims import claims_of
from steelyard_platform.repos.models import Alias, Repository, Version
from steelyard_platform.repos.notes import notes_on_repository
from steelyard_platform.repos.paging import whole_number
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.models import GateRule
from steelyard_platform.weights.quarantine import quarantine_of
from steelyard_platform.weights.services import visible_evaluations

_FILES, _VERSIONS, _EVALUATIONS, _JOBS = 12, 5, 50, 5
_PREFERRED = "production"
_BEGINNING = "---\nlicense: other\ntags: []\n---\n\n# {name}\n\nWhat it does, what it was made of, how good it is.\n"


@page
def overview(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """The card as people know it from the Hub, with what is known here and not only said."""
    actor = page_actor(request)
    repository = find_repository(actor, RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)
    version = resolve(repository).version
    context = repository_context(request, repository, "card") | _card(repository, version)
    context |= {
        "version": version,
        "chips": chips_of(repository, actor),
        "notes": notes_on_repository(repository),
        "aliases": list(Alias.objects.filter(repository=repository).select_related("version").order_by("name")),
        "gates": GateRule.objects.filter(repository=repository).order_by("pk"),
        "jobs": _jobs(repository) if may(actor, Action.READ, repository.team.resource) else [],
        "newest": Version.objects.filter(repository=repository).order_by("-number")[:_VERSIONS],
        **dataset_content(repository, version),
        "address": _address(request),
        "may_edit": may(actor, Action.WRITE, repository.resource),
    }
    if version is not None:
        context |= _content(repository, version, actor, context["address"], context["aliases"])
    return render(request, "repository/card.html", context)


def _jobs(repository: Repository) -> QuerySet[Job]:
    """For members alone: what is public is the model, not who is at work on it."""
    jobs: QuerySet[Job] = asked_for().filter(repository=repository.pk).select_related(*WITH_RUN)
    return jobs.order_by("-created_at")[:_JOBS]


def _card(repository: Repository, version: Version | None) -> dict[str, Any]:
    front_matter, text = split_card(card_text(version) or "")
    _, fault = parse_metadata(front_matter)
    return {
        "card": card_html(text, _files(repository, version)) if text.strip() else None,
        "is_cut": len(text) > MOST_SHOWN,
        "fault": fault,
        "claims": claims_of(repository.card),
    }


def _content(
    repository: Repository, version: Version, actor: Actor, address: str, aliases: list[Alias]
) -> dict[str, Any]:
    """What the newest version of main holds and what it was measured at."""
    entries = tree.entries_at(version)
    evaluations = list(visible_evaluations(version, actor)[:_EVALUATIONS])
    telling = set(entries.filter(path__in=TELLING).values_list("path", flat=True))
    preferred = any(alias.name == _PREFERRED and alias.version_id == version.pk for alias in aliases)
    revision = _PREFERRED if preferred else version.label
    inside, held = inside_of(version, actor), quarantine_of(version)
    return {
        "inspection": inside,
        "is_held": held.state is QuarantineState.QUARANTINED,
        "files": entries.order_by("path")[:_FILES],
        "evaluations": newest_of_each_place(evaluations),
        "snippets": snippets(repository, revision=revision, address=address, files=telling),
    }


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """The editor; what is saved becomes a version. What cannot be saved is shown again, with the reason."""
    actor = page_actor(request)
    repository = find_repository(actor, RepositoryKind(kind), f"{namespace}/{name}", Action.WRITE)
    version = resolve(repository).version
    context = repository_context(request, repository, "card") | {"seen": version.number if version else 0}
    if request.method == "GET":
        beginning = _BEGINNING.format(name=repository.name)
        text = card_text(version)
        return _editor(request, repository, version, context | {"text": beginning if text is None else text})
    context |= {"text": request.POST.get("text", ""), "title": request.POST.get("title", "")}
    try:
        edit_card(
            repository=repository,
            text=context["text"],
            title=context["title"],
            seen=whole_number(request.POST.get("seen", "")) or 0,
            actor=actor,
        )
    except (InvalidInputError, TooLargeError) as error:
        kept = context | {"fault": str(error), "seen": whole_number(request.POST.get("seen", "")) or 0}
        return _editor(request, repository, version, kept, status=error.status)
    except StaleParentError as error:
        # Saving again now means: knowing what the other one wrote.
        conflict = {"fault": str(error), "theirs": card_text(version) or ""}
        return _editor(request, repository, version, context | conflict, status=error.status)
    return HttpResponseRedirect(repository.page)


@page
@require_POST
def preview(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """What htmx puts beside the editor while somebody writes."""
    repository = find_repository(page_actor(request), RepositoryKind(kind), f"{namespace}/{name}", Action.WRITE)
    context = _preview(repository, resolve(repository).version, request.POST.get("text", ""))
    return render(request, "repository/preview.html", context)


def _editor(
    request: HttpRequest, repository: Repository, version: Version | None, context: dict[str, Any], status: int = 200
) -> HttpResponseBase:
    shown = _preview(repository, version, context["text"]) | context
    return render(request, "repository/edit.html", shown, status=status)


def _preview(repository: Repository, version: Version | None, text: str) -> dict[str, Any]:
    try:
        check_card(text)
    except (InvalidInputError, TooLargeError) as error:
        warning = str(error)
    else:
        warning = ""
    return {"warning": warning, "card": card_html(split_card(text)[1], _files(repository, version))}


def _files(repository: Repository, version: Version | None) -> str:
    """The address below which a card's relative addresses lie."""
    return f"{repository.page}/resolve/{version.label if version else 'main'}/"


def _address(request: HttpRequest) -> str:
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
