"""Files of runs, logged models and versions, as MLflow's clients address them.

    {experiment}/{run}/artifacts/…              of a run
    {experiment}/models/m-{id}/artifacts/…      of a logged model
    versions/{repository}/{number}/…            of a version of ours; nobody writes to it

Those of runs and models lie in the same store as every other file, held by rows of their own; they become part of a
version, without being copied, when the model is registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from steelyard_contracts.errors import EntryNotFoundError, ForbiddenError, InvalidInputError, NotFoundError
from steelyard_contracts.names import check_file_path
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_files import LoggedFile
from steelyard_platform.mlflow import trust
from steelyard_platform.mlflow.logged_models import find_logged_model, project_of
from steelyard_platform.mlflow.models import LoggedModel, RunFile
from steelyard_platform.mlflow.runs import find_run
from steelyard_platform.mlflow.runs import project_of as project_of_run
from steelyard_platform.repos import tree
from steelyard_platform.repos.blobs import keep_blobs
from steelyard_platform.repos.models import Blob, Entry, Repository, Version
from steelyard_platform.repos.patterns import LARGE_SUFFIXES
from steelyard_platform.repos.queries import is_allowed
from steelyard_platform.repos.revisions import Snapshot
from steelyard_platform.repos.serving import serve_entry

PAGE = 1000
_SMALL_FILE = 256 * 1024
_ALL_BEHIND = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Place:
    """A path in one of the three; empty for its root."""

    project: Repository
    path: str
    run: Job | None = None
    model: LoggedModel | None = None
    version: Version | None = None

    @property
    def owner(self) -> Mapping[str, Any]:
        """What its rows are found by."""
        return {"run": self.run, "model": self.model}


def located(actor: Actor, address: str) -> Place:
    """Raises: NotFoundError, also for what the actor may not read; InvalidInputError for a path that leads out."""
    parts = address.strip("/").split("/")
    match parts:
        case ["versions", repository, number, *rest]:
            return _in_version(actor, repository, number, checked("/".join(rest)))
        case [_, "models", model_id, "artifacts", *rest]:
            model = find_logged_model(model_id, actor)
            return Place(project_of(model), checked("/".join(rest)), model=model)
        case [_, run_id, "artifacts", *rest]:
            run = find_run(run_id, actor)
            return Place(project_of_run(run), checked("/".join(rest)), run=run)
        case _:
            raise NotFoundError(f"There are no artifacts at {address!r}; a run's are below its artifact_uri.")


def _in_version(actor: Actor, repository: str, number: str, path: str) -> Place:
    try:
        rows = Repository.objects.select_related("team").filter(pk=UUID(repository))
    except ValueError:
        rows = Repository.objects.none()
    found = rows.first()
    if found is None or not is_allowed(actor, Action.READ, found) or not number.isdecimal() or len(number) > 9:  # noqa: PLR2004 - as version labels
        raise NotFoundError("There is no such version, or you may not read it.")
    version = Version.objects.select_related("branch").filter(repository=found, number=int(number)).first()
    if version is None:
        raise NotFoundError(f"{found.full_name} has no version v{number}.")
    return Place(found, path, version=version)


def checked(path: str) -> str:
    """Raises: InvalidInputError in MLflow's words."""
    path = path.strip("/")
    if path in {"", "."}:
        return ""
    if not {".", ".."}.isdisjoint(path.split("/")) or path.startswith("/") or "\\" in path:
        raise InvalidInputError("Invalid path", path=path)
    return check_file_path(path)


def files_of(place: Place) -> QuerySet[RunFile]:
    """All of its run or its logged model."""
    return RunFile.objects.filter(**place.owner).select_related("blob__xet")


def below(place: Place) -> QuerySet[RunFile]:
    """By path; everything when the place is a root."""
    rows = files_of(place).order_by("path")
    return rows.filter(path__gte=f"{place.path}/", path__lt=f"{place.path}0") if place.path else rows


def children(place: Place, *, after: str = "", named_in_full: bool = False) -> tuple[list[dict[str, Any]], str]:
    """One page of a folder, and what the next one follows; a folder of nothing is empty, as MLflow has it."""
    if place.version is not None:
        return _children_of_version(place, after, named_in_full=named_in_full)
    prefix = f"{place.path}/" if place.path else ""
    found: list[dict[str, Any]] = []
    for path, size in _skipping(below(place), prefix, after):
        if len(found) == PAGE:
            return found, after
        found.append(_listed(path if named_in_full else path.removeprefix(prefix), size))
        after = path if size is not None else f"{path}/{_ALL_BEHIND}"
    return found, ""


def _children_of_version(place: Place, after: str, *, named_in_full: bool) -> tuple[list[dict[str, Any]], str]:
    try:
        items, following = tree.page_of_tree(place.version, folder=place.path, after=after, limit=PAGE)
    except EntryNotFoundError:
        return [], ""
    prefix = f"{place.path}/" if place.path and not named_in_full else ""
    sizes = ((item.path, item.blob.size if isinstance(item, Entry) and item.blob else None) for item in items)
    return [_listed(path.removeprefix(prefix), size) for path, size in sizes], following or ""


def _listed(path: str, size: int | None) -> dict[str, Any]:
    return {"path": path, "is_dir": True} if size is None else {"path": path, "is_dir": False, "file_size": size}


def _skipping(files: QuerySet[RunFile], prefix: str, after: str) -> Iterator[tuple[str, int | None]]:
    """Files with their sizes and folders without, each once: what a folder holds is skipped by the index."""
    while True:
        batch = (files.filter(path__gt=after) if after else files)[:PAGE]
        row = None
        for row in batch:
            name, slash, _ = row.path.removeprefix(prefix).partition("/")
            if slash:
                yield prefix + name, None
                after = f"{prefix}{name}/{_ALL_BEHIND}"
                break
            yield row.path, row.blob.size
            after = row.path
        if row is None:
            return


def files_for_page(run: Job, most: int) -> list[LoggedFile]:
    rows = RunFile.objects.filter(run=run).order_by("path").values_list("path", "blob__size")[:most]
    return [
        LoggedFile(path, size, f"/mlflow/get-artifact?{urlencode({'run_uuid': run.pk.hex, 'path': path})}")
        for path, size in rows
    ]


def serve(request: HttpRequest, place: Place, actor: Actor) -> HttpResponseBase:
    """Raises: EntryNotFoundError; QuarantinedError, BeingScannedError."""
    if place.version is not None:
        trust.check_version(Snapshot(place.project, place.version), actor)
        return serve_entry(request, tree.entry_at(place.version, place.path))
    file = files_of(place).filter(path=place.path).first() if place.path else None
    if file is None:
        raise EntryNotFoundError(f"There is no artifact {place.path!r}.", path=place.path)
    trust.check_run_file(place.project, file, actor)
    return serve_entry(request, Entry(path=file.path, blob=file.blob, is_lfs=file.is_lfs))


def demand_writing(place: Place, actor: Actor) -> None:
    """Raises: ForbiddenError; InvalidInputError for a root."""
    if place.version is not None:
        raise ForbiddenError("A version does not change; log a model and register it to make the next one.")
    demand(actor, Action.WRITE, place.project.resource)
    if not place.path:
        raise InvalidInputError("An artifact needs a path.", parameter="path")


@transaction.atomic
def keep(*, place: Place, blob: Blob, actor: Actor) -> RunFile:
    """Notes that the run or the model has the file there; one of that path is replaced.

    Raises: ForbiddenError; InvalidInputError where a file and a folder would have one name.
    """
    demand_writing(place, actor)
    keep_blobs([blob.sha256])
    _check_shape(place)
    is_large = place.path.lower().endswith(LARGE_SUFFIXES) or blob.size > _SMALL_FILE
    values = {"blob": blob, "is_lfs": is_large, "project": place.project, "created_at": timezone.now()}
    former = files_of(place).filter(path=place.path).first()
    if former is not None and former.blob_id != blob.sha256:
        Blob.objects.filter(pk=former.blob_id).update(touched_at=timezone.now())
    file, _ = RunFile.objects.update_or_create(**place.owner, path=place.path, defaults=values)
    audit.record(actor, "log artifact", place.project.full_name, path=place.path, sha256=blob.sha256)
    return file


def _check_shape(place: Place) -> None:
    parents = ["/".join(place.path.split("/")[:depth]) for depth in range(1, place.path.count("/") + 1)]
    if (file := files_of(place).filter(path__in=parents).first()) is not None:
        raise InvalidInputError(f"{file.path!r} is a file; nothing can lie below it.", path=file.path)
    if below(place).exists():
        raise InvalidInputError(f"{place.path!r} is a folder; it cannot become a file.", path=place.path)


@transaction.atomic
def delete(*, place: Place, actor: Actor) -> None:
    """A file, or a folder with all that is in it. Raises: ForbiddenError."""
    demand_writing(place, actor)
    files = files_of(place).filter(path=place.path) | below(place).order_by()
    Blob.objects.filter(pk__in=files.values("blob")).update(touched_at=timezone.now())
    count, _ = RunFile.objects.filter(pk__in=list(files.values_list("pk", flat=True))).delete()
    audit.record(actor, "delete artifacts", place.project.full_name, path=place.path, files=count)
