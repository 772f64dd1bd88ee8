"""Registered models: model repositories, by the names that MLflow's users give them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from steelyard_contracts.errors import AlreadyExistsError, ConflictError, InvalidInputError, NotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.jobs.models import TrackedRun
from steelyard_platform.mlflow.models import Registration, VersionNote
from steelyard_platform.mlflow.names import check_name, divided, free_slug, is_full, own_team, slug
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.queries import visible_repositories
from steelyard_platform.repos.services import create_repository, delete_repository, move_repository

STAGES = {one.lower(): one for one in ("None", "Staging", "Production", "Archived")}
_MOST_TAGS, _LONGEST_TEXT = 1000, 100_000


def registered_models(actor: Actor) -> QuerySet[Repository]:
    """What somebody registered, and whatever else has a version. Experiments' projects without one are left out."""
    rows = visible_repositories(actor).filter(kind=RepositoryKind.MODEL).select_related("mlflow_registration")
    return rows.filter(Q(mlflow_registration__is_asked_for=True) | Q(last_number__gt=0))


def registration_of(repository: Repository) -> Registration:
    """Its row, made when there is something to note. Within a transaction."""
    row, _ = Registration.objects.select_for_update().get_or_create(
        repository=repository,
        defaults={"name": repository.name, "is_asked_for": False, "created_at": repository.created_at},
    )
    return row


@transaction.atomic
def create_model(*, name: str, description: str, tags: Mapping[str, str], actor: Actor) -> Repository:
    """A repository, unless one of this name is there that holds no version and nobody has registered.

    Raises: AlreadyExistsError; ForbiddenError, NotFoundError for a team; InvalidNameError.
    """
    check_name(name, "A registered model")
    team, shown, repository = _named(name, actor)
    if repository is not None:
        demand(actor, Action.WRITE, repository.resource)
        known = Registration.objects.filter(repository=repository, is_asked_for=True).exists()
        if known or repository.last_number:
            raise _taken(name)
    demand(actor, Action.CREATE, team.resource)
    if Registration.objects.filter(repository__team=team, repository__is_trashed=False, name=shown).exists():
        raise _taken(name)
    if repository is None:
        shelf = shown if is_full(name) else free_slug(team, shown)
        repository = create_repository(team=team, name=shelf, kind=RepositoryKind.MODEL, actor=actor)
    values = {"name": shown, "description": _text(description), "tags": _bounded(tags), "is_asked_for": True}
    now = timezone.now()
    Registration.objects.update_or_create(
        repository=repository, defaults={**values, "created_at": now, "updated_at": now}
    )
    audit.record(actor, "register model", repository.full_name, name=shown)
    return repository


def _named(name: str, actor: Actor) -> tuple[Team, str, Repository | None]:
    """The team, the name within it, and the repository that has it already."""
    if is_full(name):
        team, shown = divided(name)
    else:
        team, shown = own_team(actor), name
    models = Repository.objects.filter(team=team, kind=RepositoryKind.MODEL).select_related("team")
    found = models.filter(mlflow_registration__name=shown).first()
    if found is None:
        unnamed = Q(mlflow_registration=None) | Q(mlflow_registration__is_asked_for=False)
        found = models.filter(unnamed, name__iexact=shown if is_full(name) else slug(shown)).first()
    return team, shown, found


@transaction.atomic
def rename_model(*, repository: Repository, new_name: str, actor: Actor) -> Repository:
    """The repository moves along. Raises: AlreadyExistsError, ForbiddenError."""
    check_name(new_name, "A registered model")
    team, shown, taken = _named(new_name, actor)
    if not is_full(new_name) and repository.team_id != team.pk:
        team, taken = repository.team, None
    if taken is not None and taken.pk != repository.pk:
        raise _taken(new_name)
    row = registration_of(repository)
    if slug(shown).lower() != repository.name.lower() or team.pk != repository.team_id:
        shelf = shown if is_full(new_name) else free_slug(team, shown)
        repository = move_repository(repository=repository, team=team, name=shelf, actor=actor)
    row.name, row.updated_at = shown, timezone.now()
    row.save(update_fields=["name", "updated_at"])
    audit.record(actor, "rename registered model", repository.full_name, name=shown)
    return repository


@transaction.atomic
def describe_model(*, repository: Repository, description: str, actor: Actor) -> None:
    """Raises: ForbiddenError."""
    demand(actor, Action.WRITE, repository.resource)
    row = registration_of(repository)
    row.description, row.updated_at = _text(description), timezone.now()
    row.save(update_fields=["description", "updated_at"])
    audit.record(actor, "describe model", repository.full_name)


def delete_model(*, repository: Repository, actor: Actor) -> None:
    """Into the trash. Raises: ForbiddenError; ConflictError while something stands on it, or runs belong to it."""
    demand(actor, Action.MANAGE, repository.resource)
    if runs := TrackedRun.objects.filter(project=repository).count():
        raise ConflictError(
            f"{repository.full_name} is also the project of {runs} runs, which would go with it. Delete its versions "
            "one by one, or the whole repository on its page."
        )
    delete_repository(repository=repository, actor=actor)


@transaction.atomic
def tag_model(*, repository: Repository, key: str, value: str | None, actor: Actor) -> None:
    """None takes the tag away. Raises: ForbiddenError."""
    demand(actor, Action.WRITE, repository.resource)
    row = registration_of(repository)
    row.tags.pop(key, None)
    if value is not None:
        row.tags = _bounded({**row.tags, key: value})
    row.save(update_fields=["tags"])
    audit.record(actor, "tag model", repository.full_name, key=key)


def touch(repository: Repository, now: datetime) -> None:
    """A version came, went or changed its stage."""
    registration_of(repository)
    Registration.objects.filter(repository=repository).update(updated_at=now)


# --- versions ------------------------------------------------------------------------------------


def versions_among(actor: Actor) -> QuerySet[Version]:
    """Every version of the models that the actor may see, but proposals."""
    models = visible_repositories(actor).filter(kind=RepositoryKind.MODEL)
    rows = Version.objects.filter(repository__in=models.order_by().values("pk"))
    rows = rows.exclude(branch__name__startswith="refs/pr/")
    return rows.select_related("repository__team", "repository__mlflow_registration", "mlflow_note")


def find_version(repository: Repository, number: str, name: str) -> Version:
    """Raises: NotFoundError; InvalidInputError for what is no number."""
    if not number.isdecimal() or len(number) > 9:  # noqa: PLR2004 - as version labels
        raise InvalidInputError(f"Parameter 'version' must be an integer, got '{number}'.", parameter="version")
    rows = Version.objects.filter(repository=repository, number=int(number))
    found = rows.exclude(branch__name__startswith="refs/pr/").select_related("branch", "mlflow_note").first()
    if found is None:
        raise NotFoundError(f"Model Version (name={name}, version={number}) not found.", name=name, version=number)
    found.repository = repository
    return found


def note_of(version: Version) -> VersionNote:
    """What MLflow knows of it; a version that came another way has nothing to note yet."""
    try:
        found: VersionNote = version.mlflow_note
    except VersionNote.DoesNotExist:
        return VersionNote(version=version, updated_at=version.created_at)
    return found


@transaction.atomic
def change_version(*, version: Version, actor: Actor, **values: Any) -> None:
    """A description, a stage or tags. Raises: ForbiddenError."""
    repository = version.repository
    demand(actor, Action.WRITE, repository.resource)
    now = timezone.now()
    VersionNote.objects.update_or_create(version=version, defaults={**values, "updated_at": now})
    audit.record(actor, "change version", repository.full_name, version=version.label, changed=sorted(values))


@transaction.atomic
def tag_version(*, version: Version, key: str, value: str | None, actor: Actor) -> None:
    """None takes the tag away. Raises: ForbiddenError."""
    demand(actor, Action.WRITE, version.repository.resource)
    row, made = VersionNote.objects.select_for_update().get_or_create(version=version)
    row.tags.pop(key, None)
    if value is not None:
        row.tags = _bounded({**row.tags, key: value})
    row.updated_at = version.created_at if made else row.updated_at
    row.save(update_fields=["tags", "updated_at"])
    audit.record(actor, "tag version", version.repository.full_name, version=version.label, key=key)


@transaction.atomic
def set_stage(*, version: Version, stage: str, archive_others: bool, actor: Actor) -> None:
    """Raises: InvalidInputError, ForbiddenError."""
    wanted = STAGES.get(stage.lower())
    if wanted is None:
        raise InvalidInputError(f"Invalid Model Version stage: {stage}. It is one of {', '.join(STAGES.values())}.")
    if archive_others:
        if wanted not in {"Staging", "Production"}:
            raise InvalidInputError("Other versions are archived only when one goes to Staging or Production.")
        others = VersionNote.objects.filter(version__repository=version.repository_id, stage=wanted)
        others.exclude(version=version).update(stage="Archived", updated_at=timezone.now())
    change_version(version=version, stage=wanted, actor=actor)
    touch(version.repository, timezone.now())


def _bounded(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > _MOST_TAGS:
        raise InvalidInputError(f"At most {_MOST_TAGS} tags.")
    return dict(tags)


def _text(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        raise InvalidInputError(f"A description has at most {_LONGEST_TEXT} letters.", parameter="description")
    return text


def _taken(name: str) -> AlreadyExistsError:
    return AlreadyExistsError(f"Registered Model (name={name}) already exists.", name=name)
