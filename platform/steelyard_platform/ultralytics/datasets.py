"""Datasets: dataset repositories, in the words of this client's SDK. Its "versions" are ours, by their numbers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import InvalidInputError, RevisionNotFoundError
from steelyard_contracts.refs import DEFAULT_REVISION, Ref, RepositoryKind
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.accounts.services import team_named
from steelyard_platform.datasets.models import DatasetSummary
from steelyard_platform.datasets.services import Summary
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import RUN, WITH_RUN
from steelyard_platform.repos.models import Branch, Repository, Version
from steelyard_platform.repos.queries import find_existing_version, find_repository, visible_repositories
from steelyard_platform.repos.services import create_repository, delete_repository
from steelyard_platform.ultralytics import reports
from steelyard_platform.ultralytics.archives import unpacking
from steelyard_platform.ultralytics.describing import describe, refuse_others, renamed, visibility_of
from steelyard_platform.ultralytics.files import dataset_version, export_address
from steelyard_platform.ultralytics.http import NotHereError, facade_view, json_body, limit_of, signed_in, text_of
from steelyard_platform.ultralytics.records import (
    dataset_record,
    dataset_version_record,
    model_record,
    newest_dataset,
    project_of,
)
from steelyard_platform.ultralytics.starts import own_namespace
from steelyard_platform.weights.models import LineageEdge, Relation

_MOST = 200
_SHOWN_VERSIONS = 50
# Said when a dataset is made; what it holds is read from its files.
_KNOWN_BY_ITSELF = frozenset({"task", "format", "imageCount", "classNames"})


def _find(request: HttpRequest, owner: str, dataset: str) -> tuple[Actor, Repository]:
    actor = signed_in(request)
    return actor, find_repository(actor, RepositoryKind.DATASET, f"{owner}/{dataset}")


def _list(request: HttpRequest, owner: str) -> HttpResponseBase:
    actor = signed_in(request)
    rows = visible_repositories(actor).filter(kind=RepositoryKind.DATASET, team__name__iexact=owner)
    found = list(rows.order_by("-updated_at", "pk")[: limit_of(request, default=50, most=_MOST)])
    newest = {branch.repository_id: branch.head for branch in _heads(found)}
    rows_of = DatasetSummary.objects.filter(version__in=[head for head in newest.values() if head is not None])
    summaries = {row.version_id: Summary.of(row) for row in rows_of}
    records = []
    for repository in found:
        head = newest.get(repository.pk)
        summary = summaries.get(head.pk) if head is not None else None
        records.append({**dataset_record(repository, head, summary), "status": "ready"})
    return JsonResponse({"datasets": records, "total": rows.count()})


def _heads(repositories: list[Repository]) -> list[Branch]:
    return list(Branch.objects.filter(repository__in=repositories, name=DEFAULT_REVISION).select_related("head"))


def _create(request: HttpRequest) -> HttpResponseBase:
    actor, body = signed_in(request), json_body(request)
    said = {name: value for name, value in body.items() if name not in _KNOWN_BY_ITSELF}
    refuse_others(said)
    team = team_named(text_of(body, "owner", own_namespace(actor)))
    name = reports.slug_of(text_of(body, "dataset", body.get("name")), "dataset")
    kind, public = RepositoryKind.DATASET, visibility_of(body)
    repository = create_repository(team=team, name=name, kind=kind, actor=actor, public=public)
    describe(repository, said, actor)
    return JsonResponse({"id": str(repository.pk), "owner": team.name, "dataset": repository.name}, status=201)


def _retrieve(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    _, repository = _find(request, owner, dataset)
    version, summary = newest_dataset(repository)
    versions = list(Version.objects.filter(repository=repository).order_by("-number")[:_SHOWN_VERSIONS])
    rows = DatasetSummary.objects.filter(version__in=versions)
    known = {row.version_id: Summary.of(row) for row in rows}
    record = dataset_record(repository, version, summary)
    described = [dataset_version_record(one, known.get(one.pk)) for one in versions]
    arriving = unpacking(repository, version)
    return JsonResponse({"dataset": {**record, **arriving, "versions": described, "metadata": {}}})


def _update(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    actor, repository = _find(request, owner, dataset)
    body = json_body(request)
    refuse_others(body)
    describe(repository, body, actor)
    repository = renamed(repository, body, actor)
    return JsonResponse({"success": True, "dataset": repository.name})


def _delete(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    actor, repository = _find(request, owner, dataset)
    delete_repository(repository=repository, actor=actor)
    return JsonResponse({"success": True})


def _export(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    """The newest version, that of a number, or `name@revision`, as NDJSON."""
    plain, _, revision = dataset.partition("@")
    actor, repository = _find(request, owner, plain)
    number = request.GET.get("v")
    if number is not None and not (number.isascii() and number.isdigit() and 0 < len(number) < 10):  # noqa: PLR2004 - digits
        raise InvalidInputError(f"'v' is the number of a version, not {number[:60]!r}.", field="v")
    wanted = f"v{int(number)}" if number else revision
    name = f"{repository.name}@{wanted}" if wanted else repository.name
    version = dataset_version(repository.team.name, name, actor)
    return JsonResponse(
        {"downloadUrl": export_address(request, version, actor), "version": version.number, "cached": True}
    )


def _snapshot(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    """Every commit is a version already; this names the newest one."""
    actor, repository = _find(request, owner, dataset)
    version = _version(repository, None, actor)
    address = export_address(request, version, actor)
    return JsonResponse({"version": version.number, "downloadUrl": address, "reused": True})


def _version(repository: Repository, revision: str | None, actor: Actor) -> Version:
    return find_existing_version(actor, Ref(RepositoryKind.DATASET, repository.team.name, repository.name, revision))


def _trained(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    """The runs whose versions were trained on it, as far as the reader may see their projects."""
    actor, repository = _find(request, owner, dataset)
    edges = LineageEdge.objects.filter(source__repository=repository, relation=Relation.TRAINED_ON)
    seen = edges.filter(target__repository__in=visible_repositories(actor).values("pk"))
    jobs = seen.exclude(target__job=None).values("target__job")
    runs = Job.objects.filter(kind=RUN, pk__in=jobs, run__project__isnull=False).select_related(*WITH_RUN)
    records = [model_record(run, project_of(run), None) for run in runs.order_by("-created_at")[:_MOST]]
    return JsonResponse({"models": records, "count": len(records)})


def _class_stats(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    _, repository = _find(request, owner, dataset)
    version, summary = newest_dataset(repository)
    if version is None or summary is None:
        raise RevisionNotFoundError(f"{repository.full_name} is empty, or its annotations are still being read.")
    totals = {label: sum(found.get(label, 0) for found in summary.splits.values()) for label in summary.labels}
    classes = [{"classId": number, "count": totals[label]} for number, label in enumerate(summary.labels)]
    return JsonResponse({"classes": classes, "classNames": summary.labels, "cached": True})


of_owner = facade_view(get=_list)


def _clone(request: HttpRequest, owner: str, dataset: str) -> HttpResponseBase:
    _find(request, owner, dataset)
    raise NotHereError("A dataset is not copied here; train on it where it is: its versions do not change.")


all_of_them = facade_view(post=_create)
one = facade_view(get=_retrieve, patch=_update, delete=_delete)
clone = facade_view(post=_clone)
exported = facade_view(get=_export, post=_snapshot)
trained = facade_view(get=_trained)
class_stats = facade_view(get=_class_stats)
