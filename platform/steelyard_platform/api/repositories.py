"""`/api/v1/models` and `/api/v1/datasets`: repositories, versions, aliases, gates, evaluations, lineage.

Files travel by the Hub's protocol (`steelyard_platform.hub`), not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from steelyard_contracts.evaluation import EvaluationView
from steelyard_contracts.handover import BranchRecord
from steelyard_contracts.promotions import GateVerdict
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.accounts.services import team_named
from steelyard_platform.api.lookups import Kind
from steelyard_platform.api.lookups import repository_at as _find
from steelyard_platform.api.lookups import version_in as _resolve
from steelyard_platform.api.paging import Page
from steelyard_platform.datasets.services import summary_of
from steelyard_platform.repos import services
from steelyard_platform.repos.handover import branch_record
from steelyard_platform.repos.models import Branch, Repository, Version
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of
from steelyard_platform.repos.queries import version_counts, visible_repositories
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.repos.trash import held_by_trash, visible_trash
from steelyard_platform.repos.usage import usage_of
from steelyard_platform.weights.evaluations import view_of
from steelyard_platform.weights.models import GateRule
from steelyard_platform.weights.quarantine import quarantined_among
from steelyard_platform.weights.search import find
from steelyard_platform.weights.search_syntax import Search, Sort, parse_search
from steelyard_platform.weights.services import (
    add_gate,
    remove_gate,
    verdicts_for,
    visible_evaluations,
    visible_lineage,
)

router = Router(tags=["repositories"])
_EDGES = 500


class RepositoryView(Schema):
    name: str
    kind: str
    public: bool
    created_at: datetime
    updated_at: datetime
    versions: int
    tags: list[str]
    task: str
    library: str
    size: int = Field(description="Bytes of the newest version of main.")
    downloads: int
    measures: dict[str, float] = Field(description="In a list, the measures that the search asked for.")


class SearchFilters(Schema):
    """What a repository must meet; all of it. `tag` and `metric` may be given several times."""

    q: str = Field("", description="Words, and conditions such as task:image-classification or accuracy>0.9.")
    text: str = Field("", description="What the name must hold.")
    tag: list[str] = []
    task: str = ""
    library: str = ""
    framework: str = Field("", description="Of the weights, by their content, such as onnx.")
    license: str = ""
    language: str = ""
    size: list[str] = Field([], description="Such as <1GB; bytes of the newest version of main.")
    metric: list[str] = Field([], description="Such as accuracy>0.9; on any dataset that the caller may read.")
    sort: Sort = Sort.UPDATED

    def parsed(self) -> Search:
        """Raises: InvalidInputError."""
        plain = {key: getattr(self, key) for key in ("task", "library", "framework", "license", "language")}
        tags = [*(("tag", tag) for tag in self.tag), *plain.items()]
        bounds = [*(f"size{bound}" for bound in self.size), *self.metric]
        return parse_search(self.q, name=self.text, tags=tags, bounds=bounds, sort=self.sort)


class StorageView(Schema):
    """Bytes, and how many times smaller what is stored is."""

    logical: int
    stored: int
    ratio: float | None
    trash: int = Field(
        description="Bytes stored for the trash alone, beside `stored`; of teams the caller may write in."
    )


class RepositoryRequest(Schema):
    name: str = Field(description="namespace/name")
    public: bool | None = None


class VisibilityRequest(Schema):
    public: bool


class VersionView(Schema):
    version: str
    commit: str
    branch: str
    parent: str | None
    title: str
    message: str
    author: str
    created_at: datetime
    files: int
    size: int
    job: str | None
    quarantined: bool = Field(description="Whether a dangerous file keeps it from being downloaded.")


class EdgeView(Schema):
    relation: str
    source: str
    target: str


class DatasetView(Schema):
    """What a dataset version holds, read from its layout and its annotations."""

    layout: str | None = Field(description="imagefolder, coco, yolo, metadata or masks; none when it is none of them.")
    tasks: list[str] = Field(description="What can be trained on it.")
    labels: list[str]
    pictures: dict[str, int] = Field(description="By split.")
    faults: list[str] = Field(description="What is wrong with it: the first few.")
    fault_count: int


class VersionDetail(VersionView):
    aliases: list[str]
    variants: dict[str, str] = Field(description="The version of each variant, by its branch's name.")
    evaluations: list[EvaluationView]
    lineage: list[EdgeView]
    splits: dict[str, dict[str, int]] | None = Field(
        description="Of a dataset, by split and label: pictures for classes, boxes for detection."
    )
    dataset: DatasetView | None = Field(description="What a dataset holds; none while that is being counted.")


class GateView(Schema):
    id: int
    rule: str
    applies_to: str


class GateRequest(Schema):
    rule: str = Field(max_length=300)
    applies_to: str = GateRule.ANY


class BranchRequest(Schema):
    name: str
    start: str | None = Field(DEFAULT_REVISION, description="Null: the branch stands on nothing.")
    empty: bool = Field(default=False, description="Begin without the start's files, as a variant does.")


@router.get("/storage", response=StorageView)
def get_storage_of_all(request: HttpRequest, namespace: str = "") -> StorageView:
    """What the repositories that the caller may read take up together: all of them, or those of one namespace."""
    rows, trashed = visible_repositories(api_actor(request)), visible_trash(api_actor(request))
    if namespace:
        rows, trashed = (part.filter(team__name__iexact=namespace) for part in (rows, trashed))
    return _storage(rows, trashed)


@router.get("/{kind}", response=Page[RepositoryView])
def list_repositories(
    request: HttpRequest,
    kind: Kind,
    filters: Query[SearchFilters],
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """The repositories the caller may read, last changed first unless `sort` says otherwise."""
    hits, following = find(api_actor(request), kind.kind, filters.parsed(), cursor=cursor, limit=limit)
    versions = version_counts(hit.repository for hit in hits)
    items = [_repository(hit.repository, versions, hit.measures) for hit in hits]
    return {"items": items, "next": following}


@router.post("/{kind}", response={201: RepositoryView})
def add_repository(request: HttpRequest, kind: Kind, body: RepositoryRequest) -> Status[RepositoryView]:
    namespace, _, name = body.name.partition("/")
    repository = services.create_repository(
        team=team_named(namespace), name=name, kind=kind.kind, public=body.public, actor=api_actor(request)
    )
    return Status(201, _with_count(repository))


@router.get("/{kind}/{namespace}/{name}", response=RepositoryView)
def get_repository(request: HttpRequest, kind: Kind, namespace: str, name: str) -> RepositoryView:
    return _with_count(_find(request, kind, namespace, name))


@router.get("/{kind}/{namespace}/{name}/storage", response=StorageView)
def get_storage(request: HttpRequest, kind: Kind, namespace: str, name: str) -> StorageView:
    """What a repository takes up, over all its versions."""
    found = _find(request, kind, namespace, name)
    trashed = visible_trash(api_actor(request)).filter(trash_of=found)
    return _storage(Repository.objects.filter(pk=found.pk), trashed)


def _storage(repositories: QuerySet[Repository], trashed: QuerySet[Repository]) -> StorageView:
    used = usage_of(repositories)
    return StorageView(logical=used.logical, stored=used.stored, ratio=used.ratio, trash=held_by_trash(trashed))


@router.patch("/{kind}/{namespace}/{name}", response=RepositoryView)
def patch_repository(
    request: HttpRequest, kind: Kind, namespace: str, name: str, body: VisibilityRequest
) -> RepositoryView:
    repository = _find(request, kind, namespace, name)
    services.set_visibility(repository=repository, public=body.public, actor=api_actor(request))
    return _with_count(repository)


@router.delete("/{kind}/{namespace}/{name}", response={204: None})
def delete_repository(request: HttpRequest, kind: Kind, namespace: str, name: str) -> Status[None]:
    services.delete_repository(repository=_find(request, kind, namespace, name), actor=api_actor(request))
    return Status(204, None)


@router.get("/{kind}/{namespace}/{name}/versions", response=Page[VersionView])
def list_versions(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """Every version of every branch, newest first."""
    repository = _find(request, kind, namespace, name)
    rows = Version.objects.filter(repository=repository).select_related("branch", "parent")
    items, following = page_of(rows, field="number", cursor=cursor, limit=limit)
    held = quarantined_among(items)
    return {"items": [_version(item, is_held=item.pk in held) for item in items], "next": following}


@router.get("/{kind}/{namespace}/{name}/versions/{segment:revision}", response=VersionDetail)
def get_version(request: HttpRequest, kind: Kind, namespace: str, name: str, revision: str) -> VersionDetail:
    """A version with its aliases, variants, evaluations and direct lineage."""
    repository = _find(request, kind, namespace, name)
    version = _resolve(repository, revision)
    branches = Branch.objects.filter(base=version, sees_base=False, head__isnull=False).select_related("head")
    summary = summary_of(version) if kind is Kind.DATASETS else None
    return VersionDetail(
        **_version(version, is_held=bool(quarantined_among([version]))).dict(),
        aliases=sorted(version.aliases.values_list("name", flat=True)),
        variants={branch.name: branch.head.label for branch in branches if branch.head},
        evaluations=_evaluations(version, api_actor(request)),
        lineage=_lineage(version, api_actor(request)),
        splits=summary.splits if summary else None,
        dataset=DatasetView.from_orm(summary) if summary else None,
    )


@router.delete("/{kind}/{namespace}/{name}/versions/{segment:revision}", response={204: None})
def delete_version(request: HttpRequest, kind: Kind, namespace: str, name: str, revision: str) -> Status[None]:
    """Puts the version into the trash; the versions before and after it keep their files."""
    version = _resolve(_find(request, kind, namespace, name), revision)
    services.delete_version(version=version, actor=api_actor(request))
    return Status(204, None)


@router.get("/{kind}/{namespace}/{name}/branches", response=Page[BranchRecord])
def list_branches(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """With what each came from, oldest first."""
    rows = Branch.objects.filter(repository=_find(request, kind, namespace, name)).select_related("head", "base")
    items, following = page_of(rows, field="pk", cursor=cursor, limit=limit, ascending=True)
    return {"items": [branch_record(item) for item in items], "next": following}


@router.post("/{kind}/{namespace}/{name}/branches", response={201: BranchRequest})
def add_branch(
    request: HttpRequest, kind: Kind, namespace: str, name: str, body: BranchRequest
) -> Status[BranchRequest]:
    repository = _find(request, kind, namespace, name)
    services.create_branch(
        repository=repository,
        name=body.name,
        start=resolve(repository, body.start) if body.start else None,
        sees_base=not body.empty,
        actor=api_actor(request),
    )
    return Status(201, body)


@router.get("/{kind}/{namespace}/{name}/gates", response=list[GateView])
def list_gates(request: HttpRequest, kind: Kind, namespace: str, name: str) -> list[GateView]:
    return [
        _gate(rule) for rule in GateRule.objects.filter(repository=_find(request, kind, namespace, name)).order_by("pk")
    ]


@router.post("/{kind}/{namespace}/{name}/gates", response={201: GateView})
def post_gate(request: HttpRequest, kind: Kind, namespace: str, name: str, body: GateRequest) -> Status[GateView]:
    """Adds a rule that a version must meet before `applies_to` (an alias, `release`, or `*`) may name it."""
    repository = _find(request, kind, namespace, name)
    rule = add_gate(repository=repository, text=body.rule, applies_to=body.applies_to, actor=api_actor(request))
    return Status(201, _gate(rule))


@router.delete("/{kind}/{namespace}/{name}/gates/{gate}", response={204: None})
def delete_gate(request: HttpRequest, kind: Kind, namespace: str, name: str, gate: int) -> Status[None]:
    remove_gate(repository=_find(request, kind, namespace, name), gate=gate, actor=api_actor(request))
    return Status(204, None)


@router.get("/{kind}/{namespace}/{name}/versions/{segment:revision}/verdicts", response=list[GateVerdict])
def list_verdicts(
    request: HttpRequest, kind: Kind, namespace: str, name: str, revision: str, applies_to: str = GateRule.ANY
) -> list[dict[str, object]]:
    """What each gate would say of the version now."""
    version = _resolve(_find(request, kind, namespace, name), revision)
    return [verdict.as_record() for verdict in verdicts_for(version, applies_to)]


def _with_count(repository: Repository) -> RepositoryView:
    return _repository(repository, version_counts([repository]))


def _repository(
    repository: Repository, versions: Mapping[UUID, int], measures: dict[str, float] | None = None
) -> RepositoryView:
    """`versions`: how many each repository has; one that has none need not be in it."""
    document = repository.document
    return RepositoryView(
        name=repository.full_name,
        kind=repository.kind,
        public=repository.is_public,
        created_at=repository.created_at,
        updated_at=repository.updated_at,
        versions=versions.get(repository.pk, 0),
        tags=repository.tags,
        task=document.task,
        library=document.library,
        size=document.size,
        downloads=document.downloads,
        measures=measures or {},
    )


def _version(version: Version, *, is_held: bool) -> VersionView:
    return VersionView(
        version=version.label,
        commit=version.commit_id,
        branch=version.branch.name,
        parent=version.parent.label if version.parent else None,
        title=version.title,
        message=version.message,
        author=version.author_name,
        created_at=version.created_at,
        files=version.file_count,
        size=version.total_size,
        job=str(version.job) if version.job else None,
        quarantined=is_held,
    )


def _evaluations(version: Version, actor: Actor) -> list[EvaluationView]:
    return [view_of(row) for row in visible_evaluations(version, actor)[:DEFAULT_LIMIT]]


def _lineage(version: Version, actor: Actor) -> list[EdgeView]:
    return [
        EdgeView(
            relation=edge.relation,
            source=f"{edge.source.repository.ref}@{edge.source.label}",
            target=f"{edge.target.repository.ref}@{edge.target.label}",
        )
        for edge in visible_lineage(version, actor)[:_EDGES]
    ]


def _gate(rule: GateRule) -> GateView:
    return GateView(id=rule.pk, rule=rule.text, applies_to=rule.applies_to)
