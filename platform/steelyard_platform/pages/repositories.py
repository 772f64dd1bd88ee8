"""A repository's pages beside its card: files, versions, one version, two compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import RevisionNotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.datasets.services import summary_of
from steelyard_platform.jobs.comparisons import other_version
from steelyard_platform.jobs.models import Job
from steelyard_platform.pages.quarantine import safety_context
from steelyard_platform.pages.rendering import page
from steelyard_platform.pages.weights import compared_content, inside_of
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Branch, Repository, Version
from steelyard_platform.repos.proposals import PREFIX
from steelyard_platform.repos.queries import find_repository, is_allowed
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.models import Evaluation
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
    if (before := request.GET.get("before", "")).isdigit():
        rows = rows.filter(number__lt=int(before))
    found = list(rows.order_by("-number")[: _PAGE + 1])
    measures = _accuracies(found)
    context = repository_context(request, repository, "versions") | {
        "versions": [(version, measures.get(version.pk)) for version in found[:_PAGE]],
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
        "splits": splits_of(repository, found),
        "signature": known_signature(found),
        **safety_context(found, inside_of(found, actor), actor),
        "may_promote": may(actor, Action.WRITE, repository.resource),
        "may_delete": may(actor, Action.MANAGE, repository.resource),
        "may_override": may(actor, Action.MANAGE, repository.resource),
        "may_ask": repository.team_id in actor.roles,
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


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    name: str
    left: float | None
    right: float | None

    @property
    def difference(self) -> float | None:
        return self.right - self.left if self.left is not None and self.right is not None else None


@dataclass(frozen=True, slots=True)
class ComparedTable:
    place: str
    metrics: list[ComparedMetric]


def compared(left: Version, right: Version, actor: Actor) -> list[ComparedTable]:
    """A table for each dataset and runtime that at least one of them was measured in."""
    ours, theirs = _by_place(left, actor), _by_place(right, actor)
    return [
        ComparedTable(
            place,
            [
                ComparedMetric(metric, ours.get(place, {}).get(metric), theirs.get(place, {}).get(metric))
                for metric in sorted({*ours.get(place, {}), *theirs.get(place, {})})
            ],
        )
        for place in sorted({*ours, *theirs})
    ]


def newest_of_each_place(rows: list[Evaluation]) -> list[Evaluation]:
    """One evaluation for each dataset version, split and runtime; `rows` come newest first."""
    found: dict[tuple[int, str, str], Evaluation] = {}
    for row in rows:
        found.setdefault((row.dataset_id, row.split, row.runtime), row)
    return list(found.values())


def _by_place(version: Version, actor: Actor) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in _evaluations(version, actor):  # newest first: the first of a place counts
        place = f"{row.dataset.repository.full_name}@{row.dataset.label} · {row.runtime}"
        found.setdefault(place, row.metrics)
    return found


def _evaluations(version: Version, actor: Actor) -> list[Evaluation]:
    return list(visible_evaluations(version, actor)[:_PAGE])


def _accuracies(versions: list[Version]) -> dict[int, float]:
    """The newest recorded accuracy of each, in one query."""
    rows = Evaluation.objects.filter(version__in=versions).order_by("created_at").values_list("version_id", "metrics")
    return {version: metrics["accuracy"] for version, metrics in rows if "accuracy" in metrics}


def splits_of(repository: Repository, version: Version | None) -> list[dict[str, Any]] | None:
    """A dataset's images by split and label, with each label's share of the largest for the bars."""
    if repository.kind != RepositoryKind.DATASET or version is None:
        return None
    splits = summary_of(version)
    largest = max((count for labels in splits.values() for count in labels.values()), default=1)
    return [
        {
            "name": split,
            "total": sum(labels.values()),
            "labels": [
                {"name": label, "count": count, "share": 100 * count / largest} for label, count in labels.items()
            ],
        }
        for split, labels in splits.items()
    ]


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
