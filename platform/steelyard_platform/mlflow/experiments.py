"""Experiments: a project by the name that MLflow's user gave it. Each write leaves its audit row."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from steelyard_contracts.errors import AlreadyExistsError, ConflictError, InvalidInputError, NotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor, demand, may
from steelyard_platform.jobs.models import TrackedRun
from steelyard_platform.mlflow.models import Experiment
from steelyard_platform.mlflow.names import check_name, divided, free_slug, is_full, own_team, slug
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import find_repository, visible_repositories
from steelyard_platform.repos.services import create_repository

DEFAULT, DEFAULT_ID = "Default", "0"
_MOST_AT_ONCE = 1000


def visible_experiments(actor: Actor) -> QuerySet[Experiment]:
    """Those of projects that the actor may see, and their own teams' that have no project yet."""
    visible = Q(project__in=visible_repositories(actor).filter(kind=RepositoryKind.MODEL).order_by().values("pk"))
    waiting = Q(project=None, team__in=list(actor.roles))
    return Experiment.objects.filter(visible | waiting).select_related("team", "project__team")


def _live() -> QuerySet[Experiment]:
    """Those whose project is not in the trash."""
    return Experiment.objects.filter(Q(project=None) | Q(project__is_trashed=False))


def note_projects(actor: Actor) -> None:
    """Projects with runs that began elsewhere are experiments as well: gives each its row, once."""
    projects = visible_repositories(actor).filter(kind=RepositoryKind.MODEL, mlflow_experiment=None)
    tracked = projects.filter(Exists(TrackedRun.objects.filter(project=OuterRef("pk"))))
    rows = [_row_for(project) for project in tracked.order_by("pk")[:_MOST_AT_ONCE]]
    if rows:
        Experiment.objects.bulk_create(rows, ignore_conflicts=True)


def _has_runs(project: Repository) -> bool:
    return TrackedRun.objects.filter(project=project).exists()


def experiment_of(project: Repository) -> Experiment:
    """The project's row, made when it is first asked for."""
    found = Experiment.objects.filter(project=project).first()
    if found is None:
        Experiment.objects.bulk_create([_row_for(project)], ignore_conflicts=True)
        found = Experiment.objects.get(project=project)
    found.team, found.project = project.team, project
    return found


def _row_for(project: Repository) -> Experiment:
    """Under the project's name, unless another experiment was renamed to it."""
    is_taken = _live().filter(team=project.team_id, name=project.name).exists()
    name = f"{project.name} ({project.pk.hex[:8]})" if is_taken else project.name
    return Experiment(team_id=project.team_id, project=project, name=name, created_at=project.created_at)


def find_experiment(actor: Actor, experiment_id: str) -> Experiment:
    """Raises: NotFoundError, also for one that the actor may not see."""
    if experiment_id == DEFAULT_ID:
        return default_experiment(actor)
    number = int(experiment_id) if experiment_id.isdecimal() and len(experiment_id) < 18 else 0  # noqa: PLR2004 - 64 bits
    found = visible_experiments(actor).filter(pk=number).first()
    if found is None:
        raise NotFoundError(f"No Experiment with id={experiment_id} exists, or you may not read it.")
    return found


def default_experiment(actor: Actor) -> Experiment:
    """The own team's; it takes a project when a run begins in it."""
    team = own_team(actor)
    rows = _live().filter(team=team, name=DEFAULT).select_related("team", "project__team")
    if (found := rows.first()) is None:
        Experiment.objects.bulk_create([Experiment(team=team, name=DEFAULT)], ignore_conflicts=True)
        found = rows.get()
    return found


def find_by_name(actor: Actor, name: str) -> Experiment:
    """Raises: NotFoundError."""
    if is_full(name):
        named = find_repository(actor, RepositoryKind.MODEL, name)
        if not Experiment.objects.filter(project=named).exists() and not _has_runs(named):
            raise NotFoundError(f"Could not find experiment with name '{name}'.", name=name)
        return experiment_of(named)
    team = own_team(actor)
    if name == DEFAULT:
        return default_experiment(actor)
    found = visible_experiments(actor).filter(team=team, name=name).first()
    if found is None:
        known = Repository.objects.filter(team=team, kind=RepositoryKind.MODEL, name=name, mlflow_experiment=None)
        if (project := known.filter(Exists(TrackedRun.objects.filter(project=OuterRef("pk")))).first()) is not None:
            return experiment_of(find_repository(actor, RepositoryKind.MODEL, project.full_name))
        raise NotFoundError(f"Could not find experiment with name '{name}'.", name=name)
    return found


@transaction.atomic
def create_experiment(*, name: str, tags: dict[str, str], actor: Actor) -> Experiment:
    """With its project. Raises: AlreadyExistsError, ForbiddenError, NotFoundError for a team that is not there."""
    check_name(name, "An experiment")
    if is_full(name):
        team, shelf = divided(name)
        demand(actor, Action.CREATE, team.resource)
        project = Repository.objects.filter(team=team, kind=RepositoryKind.MODEL, name__iexact=shelf).first()
        shown = project.name if project else shelf
    else:
        team, shown = own_team(actor), name
        project = _unnamed_project(team, name)
    if project is not None and Experiment.objects.filter(project=project).exists():
        raise _taken(name)
    demand(actor, Action.WRITE if project else Action.CREATE, project.resource if project else team.resource)
    if _live().filter(team=team, name=shown).exists():
        raise _taken(name)
    if project is None:
        shelf = shown if is_full(name) else free_slug(team, shown)
        project = create_repository(team=team, name=shelf, kind=RepositoryKind.MODEL, actor=actor)
    try:
        with transaction.atomic():
            made = Experiment.objects.create(team=team, project=project, name=shown, tags=tags)
    except IntegrityError as error:  # somebody was quicker by a moment
        raise _taken(name) from error
    audit.record(actor, "create experiment", project.full_name, name=shown)
    return made


def _unnamed_project(team: Team, name: str) -> Repository | None:
    """The repository of this very name, if no experiment has it."""
    known = Repository.objects.filter(team=team, kind=RepositoryKind.MODEL, name__iexact=slug(name))
    return known.filter(mlflow_experiment=None).select_related("team").first()


def project_for_run(experiment: Experiment, actor: Actor) -> Repository:
    """The experiment's project, made for a run that begins in a Default.

    Raises: ForbiddenError; ConflictError when the experiment was deleted.
    """
    if experiment.is_deleted:
        raise ConflictError(f"The experiment {experiment.name!r} is deleted; restore it, then start a run in it.")
    if experiment.project is not None:
        return experiment.project
    with transaction.atomic():
        row = Experiment.objects.select_for_update().get(pk=experiment.pk)
        if row.project_id is None:
            name = free_slug(experiment.team, experiment.name)
            made = create_repository(team=experiment.team, name=name, kind=RepositoryKind.MODEL, actor=actor)
            Experiment.objects.filter(pk=row.pk).update(project=made)
    again = Experiment.objects.select_related("project__team").get(pk=experiment.pk)
    assert again.project is not None  # noqa: S101 - it was given one above
    experiment.project = again.project
    return again.project


@transaction.atomic
def change_experiment(
    *, experiment: Experiment, actor: Actor, name: str | None = None, is_deleted: bool | None = None
) -> None:
    """A new name is MLflow's alone; the project keeps its own. Raises: ForbiddenError, AlreadyExistsError."""
    _demand_write(experiment, actor)
    at: dict[str, str | bool | datetime] = {"updated_at": timezone.now()}
    if name is not None:
        check_name(name, "An experiment")
        name = name.rpartition("/")[2] if is_full(name) and name.startswith(f"{experiment.team.name}/") else name
        if _live().filter(team=experiment.team_id, name=name).exclude(pk=experiment.pk).exists():
            raise _taken(name)
        at["name"] = name
    if is_deleted is not None:
        at["is_deleted"] = is_deleted
    Experiment.objects.filter(pk=experiment.pk).update(**at)
    what = {key: value for key, value in at.items() if key != "updated_at"}
    audit.record(actor, "change experiment", _label(experiment), **what)


@transaction.atomic
def tag_experiment(*, experiment: Experiment, key: str, value: str | None, actor: Actor) -> None:
    """None takes the tag away. Raises: ForbiddenError, NotFoundError when there is none to take."""
    _demand_write(experiment, actor)
    row = Experiment.objects.select_for_update(of=("self",)).get(pk=experiment.pk)
    if value is None and key not in row.tags:
        raise NotFoundError(f"No tag with name: {key} in experiment with id {experiment.pk}.")
    row.tags.pop(key, None)
    if value is not None:
        row.tags[key] = value
    if len(row.tags) > _MOST_AT_ONCE:
        raise InvalidInputError(f"An experiment has at most {_MOST_AT_ONCE} tags.")
    row.updated_at = timezone.now()
    row.save(update_fields=["tags", "updated_at"])
    audit.record(actor, "tag experiment", _label(experiment), key=key)


def may_write(experiment: Experiment, actor: Actor) -> bool:
    resource = experiment.project.resource if experiment.project else experiment.team.resource
    return may(actor, Action.WRITE if experiment.project else Action.CREATE, resource)


def _demand_write(experiment: Experiment, actor: Actor) -> None:
    if experiment.project is not None:
        demand(actor, Action.WRITE, experiment.project.resource)
    else:
        demand(actor, Action.CREATE, experiment.team.resource)


def _label(experiment: Experiment) -> str:
    return experiment.project.full_name if experiment.project else f"{experiment.team.name}/{experiment.name}"


def _taken(name: str) -> AlreadyExistsError:
    return AlreadyExistsError(f"Experiment '{name}' already exists.", name=name)
