"""One evaluation with all that it found, versions side by side, and the form that asks for another."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.evaluation import ClassRow, CurveKind, EvaluationDetail
from steelyard_contracts.jobs import EvaluateSpec
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.services import request_job
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.pages.spec_form import suggested, validated
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.weights import evaluations

_CLASSES = 500
_HEAT_MAP = 40
_BY_LABEL, _BY_SUPPORT = "label", "support"


@page
def detail(request: HttpRequest, kind: str, namespace: str, name: str, revision: str, number: int) -> HttpResponseBase:
    """`?sort=f1` orders the classes by a measure, the worst first."""
    version = _find(request, kind, namespace, name, revision)
    actor = page_actor(request)
    found = evaluations.detail_of(evaluations.find_evaluation(version, number, actor), actor)
    columns = sorted({metric for row in found.measures.classes for metric in row.measures})
    sort = request.GET.get("sort", "")
    confusion = found.measures.confusion
    context = {
        "repository": version.repository,
        "base": version.repository.page,
        "tab": "versions",
        "version": version,
        "evaluation": found,
        "figures": figures_of(found),
        "columns": columns,
        "sort": sort,
        "classes": [
            (row, [row.measures.get(column) for column in columns])
            for row in in_order(found.measures.classes, sort)[:_CLASSES]
        ],
        "hidden": max(0, len(found.measures.classes) - _CLASSES),
        "confusion": confusion if confusion and len(confusion.labels) <= _HEAT_MAP else None,
        "confused": most_confused(found),
        "curves": [
            (kind, [curve for curve in found.measures.curves if curve.kind is kind])
            for kind in (CurveKind.PRECISION_RECALL, CurveKind.ROC)
        ],
    }
    return render(request, "repository/evaluation.html", context)


@page
@require_POST
def evaluate(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    """Asks for the job that measures the version, and shows it."""
    signed_in(request)
    version = _find(request, kind, namespace, name, revision)
    asked = {key: text for key in ("dataset", "split") if (text := request.POST.get(key, "").strip())}
    model = f"{version.repository.full_name}@{version.label}"
    spec = validated(EvaluateSpec, {**asked, "model": model}, "This cannot be measured")
    job = request_job(spec=spec, actor=page_actor(request))
    return HttpResponseRedirect(f"/jobs/{job.pk}")


def evaluation_form(version: Version, actor: Actor) -> dict[str, Any]:
    """For a version's page: whether it can be measured from there, and on what."""
    repository = version.repository
    if repository.kind != RepositoryKind.MODEL or not may(actor, Action.RUN_JOBS, repository.resource):
        return {"may_evaluate": False}
    return {"may_evaluate": True, "datasets": suggested(RepositoryKind.DATASET, actor)}


@page
def sample(
    request: HttpRequest, kind: str, namespace: str, name: str, revision: str, number: int, rank: int
) -> HttpResponseBase:
    version, actor = _find(request, kind, namespace, name, revision), page_actor(request)
    picture = evaluations.sample_picture(evaluations.find_evaluation(version, number, actor), rank, actor)
    kind_of_picture = "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
    return HttpResponse(picture, content_type=kind_of_picture, headers=headers)


@page
def compare(request: HttpRequest) -> HttpResponseBase:
    """`?ref=team/model@v1&ref=team/model@v2`."""
    actor = page_actor(request)
    refs = [parse_ref(text) for text in request.GET.getlist("ref")]
    versions = [find_existing_version(actor, ref, Action.SEE) for ref in refs]
    found = evaluations.compare_evaluations(versions, actor)
    return render(request, "evaluations/compare.html", {"comparison": found})


def figures_of(found: EvaluationDetail) -> list[tuple[str, float, object]]:
    """(name, value, interval or None) of each headline figure."""
    return [(metric, value, found.intervals.get(metric)) for metric, value in found.metrics.items()]


def in_order(rows: list[ClassRow], sort: str) -> list[ClassRow]:
    """By a measure the worst first, classes without it last; by label or support; else as the labels stand."""
    if sort == _BY_LABEL:
        return sorted(rows, key=lambda row: row.label.lower())
    if sort == _BY_SUPPORT:
        return sorted(rows, key=lambda row: -row.support)
    if sort:
        return sorted(rows, key=lambda row: (sort not in row.measures, row.measures.get(sort, 0.0)))
    return rows


def most_confused(found: EvaluationDetail, most: int = 12) -> list[tuple[str, str, int]]:
    """(true, answered, how often) off the diagonal, the most frequent first."""
    confusion = found.measures.confusion
    if confusion is None:
        return []
    cells = [
        (confusion.labels[true], confusion.labels[said], count)
        for true, row in enumerate(confusion.counts)
        for said, count in enumerate(row)
        if true != said and count
    ]
    return sorted(cells, key=lambda cell: -cell[2])[:most]


def _find(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> Version:
    if kind != RepositoryKind.MODEL:
        raise NotFoundError("A dataset is not evaluated.")
    return find_existing_version(page_actor(request), Ref(RepositoryKind.MODEL, namespace, name, revision), Action.SEE)
