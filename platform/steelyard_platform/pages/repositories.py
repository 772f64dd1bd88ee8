"""A repository's pages beside its card: files, versions, one version, two compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import RevisionNotFoundError
from steelyard_contracts.evaluation import Difference, differences_of
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.tasks import Task
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.comparisons import other_version
from steelyard_platform.jobs.models import Job
from steelyard_platform.pages.datasets import dataset_content
from steelyard_platform.pages.evaluations import evaluation_form
from steelyard_platform.pages.quarantine import safety_context
from steelyard_platform.pages.rendering import page
from steelyard_platform.pages.weights import compared_content, inside_of
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Branch, Repository, Version
from steelyard_platform.repos.notes import notes_on_version
from steelyard_platform.repos.paging import whole_number
from steelyard_platform.repos.proposals import PREFIX
from steelyard_platform.repos.queries import find_repository, is_allowed
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.architecture import task_of
from steelyard_platform.weights.evaluations import paired, with_resamples
from steelyard_platform.weights.models import Evaluation
from steelyard_platform.weights.quarantine import quarantined_among
from steelyard_platform.weights.services import promote_version, visible_evaluations, visible_lineage
from steelyard_platform.weights.signing import known_signature

_PAGE = 50
_FILES = 500


@page
def files(
    request: HttpRequest, kind: str, namespace: str, name: str, revision: str, folder: str = ""
) -> HttpResponseBase:
    repository = _find(request, kind, namespace, name)
    snapshot = resolve(repository, revision)
    items: list[tree.Folder | Any] = []
    following = None
    if snapshot.version is not None:
        after = request.GET.get("after", "")
        items, following = tree.page_of_tree(snapshot.version, folder=folder.strip("/"), after=after, limit=_FILES)
    rows = [
        {
            "name": item.path.rpartition("/")[2],
            "path": item.path,
            "is_folder": isinstance(item, tree.Folder),
            "entry": item,
        }
        for item in items
    ]
    trail = folder.strip("/").split("/") if folder.strip("/") else []
    context = repository_context(request, repository, "files") | {
        "revision": revision,
        "version": snapshot.version,
        "rows": rows,
        "following": following,
        "folder": folder.strip("/"),
        "trail": [(part, "/".join(trail[: depth + 1])) for depth, part in enumerate(trail)],
    }
    return render(request, "repository/files.html", context)


@page
def versions(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    repository = _find(request, kind, namespace, name)
    rows = Version.objects.filter(repository=repository).select_related("branch").prefetch_related("aliases", "tags")
    if (before := whole_number(request.GET.get("before", ""))) is not None:
        rows = rows.filter(number__lt=before)
    found = list(rows.order_by("-number")[: _PAGE + 1])
    measures, held = _accuracies(found), quarantined_among(found[:_PAGE])
    context = repository_context(request, repository, "versions") | {
        "versions": [(version, measures.get(version.pk), version.pk in held) for version in found[:_PAGE]],
        "has_more": len(found) > _PAGE,
    }
    return render(request, "repository/versions.html", context)


@page
def version(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    repository = _find(request, kind, namespace, name)
    found = _resolve(repository, revision)
    actor = page_actor(request)
    edges = visible_lineage(found, actor)
    context = repository_context(request, repository, "versions") | {
        "version": found,
        "evaluations": newest_of_each_place(_evaluations(found, actor)),
        "made_from": edges.filter(target=found)[:_PAGE],
        "led_to": edges.filter(source=found)[:_PAGE],
        "external": found.external_sources.order_by("pk")[:_PAGE],
        "variants": Branch.objects.filter(base=found, head__isnull=False).select_related("head"),
        "aliases": found.aliases.order_by("name"),
        "job": Job.objects.filter(pk=found.job).first() if found.job else None,
        "others": Version.objects.filter(repository=repository).exclude(pk=found.pk).order_by("-number")[:_PAGE],
        "files": tree.entries_at(found).order_by("path")[:12],
        **dataset_content(repository, found),
        "signature": known_signature(found),
        "notes": notes_on_version(found),
        **safety_context(found, inside_of(found, actor), actor),
        "may_promote": may(actor, Action.WRITE, repository.resource),
        "may_delete": may(actor, Action.MANAGE, repository.resource),
        "may_override": may(actor, Action.MANAGE, repository.resource),
        "may_ask": repository.team_id in actor.roles,
        "prediction_task": _prediction_task(found, actor),
        **evaluation_form(found, actor),
    }
    return render(request, "repository/version.html", context)


@page
def compare(request: HttpRequest, kind: str, namespace: str, name: str, left: str, right: str) -> HttpResponseBase:
    """Two versions side by side: their weights, their measures on the same data, their files and cards."""
    repository, actor = _find(request, kind, namespace, name), page_actor(request)
    one, other = _resolve(repository, left), other_version(repository, right, actor)
    context = repository_context(request, repository, "versions") | {
        "left": one,
        "right": other,
        "tables": compared(one, other, actor),
        **compared_content(one, other, actor),
    }
    return render(request, "repository/compare.html", context)


@page
def compare_form(request: HttpRequest, kind: str, namespace: str, name: str) -> HttpResponseBase:
    """`?left=v1&right=v2`, from the form on a version's page."""
    repository = _find(request, kind, namespace, name)
    left, right = (_resolve(repository, request.GET.get(side, "")).label for side in ("left", "right"))
    return HttpResponseRedirect(f"{repository.page}/compare/{left}...{right}")


@page
@require_POST
def promote(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    repository = _find(request, kind, namespace, name)
    found = _resolve(repository, revision)
    alias, reason = request.POST.get("alias", "").strip(), request.POST.get("reason", "").strip()
    override = request.POST.get("override") == "on"
    promote_version(version=found, alias=alias, reason=reason, override=override, actor=page_actor(request))
    return HttpResponseRedirect(f"{repository.page}/versions/{found.label}")


@page
def commit(request: HttpRequest, kind: str, namespace: str, name: str, commit_id: str) -> HttpResponseBase:
    """Where the address that Hub clients print after a commit leads."""
    repository = _find(request, kind, namespace, name)
    return HttpResponseRedirect(f"{repository.page}/versions/{_resolve(repository, commit_id).label}")


@page
def proposal(request: HttpRequest, kind: str, namespace: str, name: str, number: int) -> HttpResponseBase:
    """Where the address of a pull request leads: what it would change."""
    repository = _find(request, kind, namespace, name)
    proposed = _resolve(repository, f"{PREFIX}{number}")
    return HttpResponseRedirect(f"{repository.page}/versions/{proposed.label}")


def _prediction_task(version: Version, actor: Actor) -> Task | None:
    """What the panel for pictures is for; None where the page has none: for whoever may read the files of a network."""
    if actor.is_anonymous or version.repository.kind != RepositoryKind.MODEL:
        return None
    return task_of(version) if is_allowed(actor, Action.READ, version.repository) else None


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """A figure of two versions; `change` where both have it."""

    name: str
    left: float | None
    right: float | None
    change: Difference | None


@dataclass(frozen=True, slots=True)
class ComparedTable:
    place: str
    metrics: list[ComparedMetric]


def compared(left: Version, right: Version, actor: Actor) -> list[ComparedTable]:
    """A table for each dataset and runtime that at least one of them was measured in."""
    ours, theirs = _by_place(left, actor), _by_place(right, actor)
    return [ComparedTable(place, _figures(ours.get(place), theirs.get(place))) for place in sorted({*ours, *theirs})]


def _figures(one: Evaluation | None, other: Evaluation | None) -> list[ComparedMetric]:
    changes = {found.metric: found for found in differences_of(paired(one), paired(other))} if one and other else {}
    left, right = (row.metrics if row else {} for row in (one, other))
    names = sorted({*left, *right})
    return [ComparedMetric(name, left.get(name), right.get(name), changes.get(name)) for name in names]


def newest_of_each_place(rows: list[Evaluation]) -> list[Evaluation]:
    """One evaluation for each dataset version, split and runtime; `rows` come newest first."""
    found: dict[tuple[int, str, str], Evaluation] = {}
    for row in rows:
        found.setdefault((row.dataset_id, row.split, row.runtime), row)
    return list(found.values())


def _by_place(version: Version, actor: Actor) -> dict[str, Evaluation]:
    """The newest evaluation of each dataset version, split and runtime, with its resamples."""
    rows = with_resamples(visible_evaluations(version, actor))[:_PAGE]
    return {_place(row): row for row in newest_of_each_place(list(rows))}


def _place(row: Evaluation) -> str:
    return f"{row.dataset.repository.full_name}@{row.dataset.label} {row.split} · {row.runtime}"


def _evaluations(version: Version, actor: Actor) -> list[Evaluation]:
    return list(visible_evaluations(version, actor)[:_PAGE])


def _accuracies(versions: list[Version]) -> dict[int, float]:
    """The newest recorded accuracy of each, in one query."""
    rows = Evaluation.objects.filter(version__in=versions).order_by("created_at").values_list("version_id", "metrics")
    return {version: metrics["accuracy"] for version, metrics in rows if "accuracy" in metrics}


def _find(request: HttpRequest, kind: str, namespace: str, name: str) -> Repository:
    return find_repository(page_actor(request), RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)


def _resolve(repository: Repository, revision: str) -> Version:
    found = resolve(repository, revision).version
    if found is None:
        raise RevisionNotFoundError(f"{repository.full_name} is empty.", revision=revision)
    found.repository = repository
    return found


def repository_context(request: HttpRequest, repository: Repository, tab: str) -> dict[str, Any]:
    actor = page_actor(request)
    return {
        "repository": repository,
        "base": repository.page,
        "tab": tab,
        "actor": actor,
        "must_ask": not is_allowed(actor, Action.READ, repository),
    }
