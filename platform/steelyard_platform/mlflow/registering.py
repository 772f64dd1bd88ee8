"""A version out of what was logged: the files of a run, a logged model or another version, committed to `main`.

Nothing is copied. The version holds exactly those files, besides the card that was there. A source that is elsewhere (a
bucket of one's own) makes a version without files, and is only remembered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from django.db import transaction
from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts.permissions import Action, Actor, demand, may
from steelyard_platform.jobs import tracking
from steelyard_platform.mlflow import artifacts, trust
from steelyard_platform.mlflow.artifacts import Place, located
from steelyard_platform.mlflow.logged_models import find_logged_model, project_of
from steelyard_platform.mlflow.models import LoggedModel, VersionNote
from steelyard_platform.mlflow.names import find_model, name_for, own_team
from steelyard_platform.mlflow.registry import find_version, note_of, touch
from steelyard_platform.mlflow.runs import find_run
from steelyard_platform.mlflow.runs import project_of as project_of_run
from steelyard_platform.repos import commits, tree
from steelyard_platform.repos.blobs import note_holder
from steelyard_platform.repos.card import CARD_PATH
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Entry, Repository, Version
from steelyard_platform.repos.revisions import Snapshot, resolve

_MOST_FILES = 10_000
_REGISTERED = "mlflow.modelVersions"
_LONGEST_SOURCE = 2000
_MOST_COPIES = 10
_REGISTERED_MODEL = re.compile(r"models:/(?P<name>[^@]+?)(?:/(?P<version>\d{1,9})|@(?P<alias>[^/]+))")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked to be registered."""

    source: str
    run_id: str = ""
    run_link: str = ""
    model_id: str = ""
    description: str = ""
    tags: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a source, by the paths that they have in the version; `home` is whose team holds them."""

    home: Repository
    files: list[commits.AddFile]
    is_own: bool  # whether they are the team's own: of a run, a logged model, or a version that was made of one
    run_id: str = ""  # whose a logged model was


def register(*, repository: Repository, wish: Wish, actor: Actor) -> Version:
    """Raises: InvalidInputError for a source without files; NotFoundError, ForbiddenError, QuarantinedError."""
    demand(actor, Action.WRITE, repository.resource)
    if not wish.source:
        raise InvalidInputError("Missing value for required parameter 'source'.", parameter="source")
    if len(wish.source) > _LONGEST_SOURCE:
        raise InvalidInputError(f"A source has at most {_LONGEST_SOURCE} letters.", parameter="source")
    found = _files_of_source(wish, actor)
    if found is not None and not wish.run_id:
        wish = replace(wish, run_id=found.run_id)
    with transaction.atomic():
        locked = lock_repository(repository.pk)
        if found is not None and found.home.team_id != locked.team_id:
            note_holder(locked.team, {file.sha256 for file in found.files})  # who may read it may send it
        version = _commit(locked, found, wish, actor)
        now = timezone.now()
        VersionNote.objects.create(
            version=version,
            source=wish.source,
            run_id=wish.run_id[:64],
            run_link=wish.run_link[:2000],
            model_id=wish.model_id[:64],
            description=wish.description,
            tags=wish.tags or {},
            is_own=found is not None and found.is_own and found.home.team_id == locked.team_id,
            updated_at=version.created_at,
        )
        touch(locked, now)
        _note_on_model(wish, repository, version, actor)
    _note_run(wish, version, actor)
    version.repository = repository
    return version


def _commit(repository: Repository, found: Found | None, wish: Wish, actor: Actor) -> Version:
    before = resolve(repository).version
    wanted = {file.path: file for file in found.files} if found else {}
    gone = tree.entries_at(before).exclude(path__in=[CARD_PATH]).values_list("path", flat=True)
    operations: list[commits.Operation] = [commits.DeleteFile(path) for path in gone if path not in wanted]
    operations += wanted.values()
    version = commits.commit(
        repository=repository,
        branch_name=DEFAULT_REVISION,
        operations=operations,
        message=commits.Message(f"Registered from {wish.source}"[: commits.MAX_TITLE]),
        actor=actor,
        even_unchanged=True,
    )
    assert version is not None  # noqa: S101 - one is made even when nothing changes
    return version


def _files_of_source(wish: Wish, actor: Actor) -> Found | None:
    """None for a source that is elsewhere, or that nobody knows. Raises: as `register`."""
    if wish.model_id and (model := _logged(wish.model_id, actor)) is not None:
        return _of_place(Place(project_of(model), "", model=model), actor)
    for pattern, find in _SOURCES:
        if (match := pattern.fullmatch(wish.source)) is not None:
            return find(match, actor)
    return None


def _of_logged_model(match: re.Match[str], actor: Actor) -> Found | None:
    model = find_logged_model(match[1], actor)
    return _of_place(Place(project_of(model), match[2] or "", model=model), actor)


def origin_of(version: Version, actor: Actor) -> Version:
    """Of a version without files that was copied from another, that one: its source says where the files are."""
    for _ in range(_MOST_COPIES):
        match = _REGISTERED_MODEL.fullmatch(note_of(version).source)
        if version.file_count or match is None:
            break
        try:
            found = _registered_version(match, actor).version
        except (NotFoundError, InvalidInputError):
            break
        version = found or version
    return version


def _of_registered(match: re.Match[str], actor: Actor) -> Found | None:
    return _of_version(_registered_version(match, actor), actor)


def _registered_version(match: re.Match[str], actor: Actor) -> Snapshot:
    repository = find_model(actor, match["name"])
    if match["version"]:
        return Snapshot(repository, find_version(repository, match["version"], match["name"]))
    return resolve(repository, match["alias"])


def _of_run(match: re.Match[str], actor: Actor) -> Found | None:
    try:
        run = find_run(match[1], actor)
    except NotFoundError:
        return None
    return _of_place(Place(project_of_run(run), match[2].strip("/"), run=run), actor)


def _of_address(match: re.Match[str], actor: Actor) -> Found | None:
    place = located(actor, match[1])
    if place.version is not None:
        return _of_version(Snapshot(place.project, place.version), actor, folder=place.path)
    return _of_place(place, actor)


_SOURCES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Actor], Found | None]], ...] = (
    (re.compile(r"models:/(m-[0-9a-f]{32})(?:/(.*))?"), _of_logged_model),
    (_REGISTERED_MODEL, _of_registered),
    (re.compile(r"runs:/([0-9a-f]{32})/?(.*)"), _of_run),
    (re.compile(r"mlflow-artifacts:(?://[^/]*)?/(.+)"), _of_address),
)


def _logged(model_id: str, actor: Actor) -> LoggedModel | None:
    try:
        return find_logged_model(model_id, actor)
    except NotFoundError:
        return None


def _of_place(place: Place, actor: Actor) -> Found | None:
    rows = list(artifacts.below(place)[: _MOST_FILES + 1])
    if len(rows) > _MOST_FILES:
        raise InvalidInputError(f"The source has more than {_MOST_FILES} files; register a folder of it.")
    for row in rows:
        trust.check_run_file(place.project, row, actor)
    prefix = f"{place.path}/" if place.path else ""
    files = [commits.AddFile(row.path.removeprefix(prefix), row.blob_id, row.is_lfs) for row in rows]
    if not files and place.path and (file := artifacts.files_of(place).filter(path=place.path).first()) is not None:
        trust.check_run_file(place.project, file, actor)
        files = [commits.AddFile(file.path.rpartition("/")[2], file.blob_id, file.is_lfs)]
    run_id = place.model.source_run_id if place.model else ""
    return Found(place.project, files, is_own=True, run_id=run_id) if files else None


def _of_version(snapshot: Snapshot, actor: Actor, folder: str = "") -> Found | None:
    version = snapshot.version
    if version is None or not version.file_count:
        return None
    trust.check_version(snapshot, actor)
    prefix = f"{folder}/" if folder else ""
    entries: list[Entry] = list(tree.entries_at(version).filter(path__startswith=prefix)[: _MOST_FILES + 1])
    if len(entries) > _MOST_FILES:
        raise InvalidInputError(f"{version.label} has more than {_MOST_FILES} files.")
    own = VersionNote.objects.filter(version=version, is_own=True).exists()
    files = [
        commits.AddFile(entry.path.removeprefix(prefix), entry.blob_id, entry.is_lfs)
        for entry in entries
        if entry.blob_id is not None
    ]
    return Found(snapshot.repository, files, is_own=own)


def _note_on_model(wish: Wish, repository: Repository, version: Version, actor: Actor) -> None:
    """Where a logged model was registered, as its clients look for it."""
    if not wish.model_id or (model := _logged(wish.model_id, actor)) is None:
        return
    row = LoggedModel.objects.select_for_update().get(pk=model.pk)
    known = _registered(row)
    known.append({"name": name_for(repository, own_team(actor)), "version": version.number})
    row.tags = {**row.tags, _REGISTERED: json.dumps(known)}
    row.save(update_fields=["tags"])


def _note_run(wish: Wish, version: Version, actor: Actor) -> None:
    """The version is the run's, for those who may write to it: its page and its lineage say so."""
    try:
        run = find_run(wish.run_id, actor) if wish.run_id else None
    except NotFoundError:
        return
    if run is not None and may(actor, Action.WRITE, project_of_run(run).resource):
        tracking.save_version(run=run, version=version, actor=actor, is_elsewhere=True)


def _registered(model: LoggedModel) -> list[dict[str, object]]:
    try:
        known = json.loads(model.tags.get(_REGISTERED, "[]"))
    except ValueError:
        return []
    return known if isinstance(known, list) else []
