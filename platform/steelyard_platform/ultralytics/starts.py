"""A training begins, or goes on.

The client has no key of its own for a start, and repeats one whose answer it did not hear. So the same words again,
from a run that has not reported an epoch since, are the same start; later, or beside it, they are another run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db.models import QuerySet
from django.utils import timezone

from steelyard_contracts.errors import ForbiddenError, InvalidInputError, NotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.names import is_commit_id, is_version_number
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_contracts.tracking import RunRequest, RunSource
from steelyard_platform.accounts.models import Token
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.models import Attempt, Job
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.repos.models import Alias, Branch, Repository, Tag, Version
from steelyard_platform.repos.queries import find_existing_version, find_repository
from steelyard_platform.ultralytics import reports
from steelyard_platform.ultralytics.weights import find_weights

# The name that was asked for; the one it got may have a number behind it.
WANTED = "ultralytics_name"
_START, _RESUME = "ultralytics_start", "ultralytics_resume"
_FOLDER = "ultralytics_folder"
# A client gives up on an answer after half a minute, and tries five times.
_REPEATED_WITHIN = timedelta(minutes=5)
_DATASET = re.compile(r"ul://([^/]+)/datasets/([^/@]+)(?:@(.+))?")
_MODEL = re.compile(r"ul://([^/]+)/([^/]+)/([^/]+)")
# Where the client lays weights that it fetched from here: see `weights.file_name`.
_FETCHED = re.compile(r".*?([^/\\]+)[/\\]([^/\\]+)[/\\][^/\\]+[/\\]([^/\\]+)-(v[1-9][0-9]{0,8})\.pt")


def own_namespace(actor: Actor) -> str:
    """The team that the token is for, or else the person's own."""
    token = Token.objects.select_related("team").filter(pk=actor.token_id).first()
    return token.team.name if token is not None and token.team is not None else actor.name


def full_name_of(project: str, actor: Actor) -> str:
    """`shelf` is a project of one's own. Raises: InvalidInputError."""
    namespace, slash, name = project.strip().partition("/")
    if not slash:
        namespace, name = own_namespace(actor), namespace
    if not namespace or not name or "/" in name:
        raise InvalidInputError(f"{project!r} is no project; train with project=team/name.", field="project")
    return f"{namespace}/{name}"


def begin(project: str, name: str, data: Mapping[str, Any], actor: Actor) -> Job:
    """The run that this start is of: a new one, one that goes on, or the one that an earlier delivery began.

    Raises: InvalidInputError, ForbiddenError, and whatever else `tracking.start_run` refuses with.
    """
    full_name, wanted = full_name_of(project, actor), reports.slug_of(name, "train")
    digest = reports.digest_of(full_name, wanted, data)
    repository = _existing(full_name, actor)
    runs = _runs(repository, actor) if repository else Job.objects.none()
    same = runs.filter(run__tags__ultralytics_start=digest)
    again = same | runs.filter(run__tags__ultralytics_resume=digest)
    newest = again.order_by("-created_at", "-pk").first()
    if newest is not None and _was_just_begun(newest, digest):
        return newest
    if repository is not None and reports.is_resumed(data):
        former = _former(repository, wanted, data, actor)
        if former is not None:
            return _go_on(former, digest, data, actor)
    request = RunRequest(
        project=full_name,
        name=_free_of_references(repository, wanted),
        config=reports.configuration_of(data),
        source=RunSource.ULTRALYTICS,
        environment=reports.environment_of(data),
        git=reports.git_of(data),
        datasets=datasets_of(data, actor),
        base=base_of(data, actor),
        key=uuid5(NAMESPACE_URL, f"{digest}/{same.count()}"),
        total_steps=reports.total_of(data),
        tags={WANTED: wanted, _START: digest, _FOLDER: _folder_of(data)},
    )
    return tracking.start_run(request=request, actor=actor)


def go_on(run_id: object, data: Mapping[str, Any], actor: Actor) -> Job:
    """The run that a resumed training names: newer clients write its id beside their checkpoints.

    Raises: NotFoundError, upon which the client begins another.
    """
    run = find("", "", run_id, actor)
    digest = reports.digest_of(str(run.pk), run.run.name, data)
    return run if _was_just_begun(run, digest) else _go_on(run, digest, data, actor)


def find(project: str, name: str, run_id: object, actor: Actor) -> Job:
    """The run that an event is of: by its id, or, for those that were sent before it was known, by its name.

    Raises: NotFoundError.
    """
    if run_id:
        try:
            return tracking.find_run(UUID(str(run_id)), actor)
        except (ValueError, NotFoundError) as error:
            raise NotFoundError(f"There is no run {str(run_id)[:60]!r} here, or you may not see it.") from error
    repository = _existing(full_name_of(project, actor), actor)
    if repository is not None:
        wanted = reports.slug_of(name, "train")
        at_work = _runs(repository, actor).filter(run__tags__ultralytics_name=wanted, state=JobState.RUNNING)
        if (run := at_work.order_by("-created_at", "-pk").first()) is not None:
            return run
    raise NotFoundError(f"No run {name!r} of {project} is at work; its start was not heard of here.")


def _existing(full_name: str, actor: Actor) -> Repository | None:
    try:
        return find_repository(actor, RepositoryKind.MODEL, full_name, Action.WRITE)
    except NotFoundError:
        return None


def _runs(repository: Repository, actor: Actor) -> QuerySet[Job]:
    return tracking.runs_of(repository, actor).filter(run__source=RunSource.ULTRALYTICS)


def _was_just_begun(run: Job, digest: str) -> bool:
    """Whether the run's present attempt began with these words, a moment ago, and no epoch was reported since."""
    word = _START if run.attempt == 1 else _RESUME
    if run.state != JobState.RUNNING or run.run.tags.get(word) != digest:
        return False
    began = Attempt.objects.filter(job=run, number=run.attempt).values_list("started_at", flat=True).first()
    is_recent = began is not None and timezone.now() - began < _REPEATED_WITHIN
    # A run that goes on has the points of its earlier attempts.
    return is_recent and (run.attempt > 1 or not MetricSeries.objects.filter(job=run).exists())


# --- going on ------------------------------------------------------------------------------------


def _former(repository: Repository, wanted: str, data: Mapping[str, Any], actor: Actor) -> Job | None:
    """The newest run of this name, first of all the one that wrote to the same folder on the same machine."""
    runs = _runs(repository, actor).filter(run__tags__ultralytics_name=wanted).order_by("-created_at", "-pk")
    folder, host = _folder_of(data), reports.environment_of(data).get("host", "")
    here = runs.filter(run__tags__ultralytics_folder=folder, run__environment__host=host) if folder else runs.none()
    return here.first() or runs.first()


def _go_on(run: Job, digest: str, data: Mapping[str, Any], actor: Actor) -> Job:
    key = uuid5(NAMESPACE_URL, f"{digest}/{run.pk}/{run.attempt}")
    host = reports.environment_of(data).get("host", "")
    resumed = tracking.resume_run(run=run, actor=actor, key=key, host=host)
    return tracking.update_run(
        run=resumed, actor=actor, tags={_RESUME: digest}, total_steps=reports.total_of(data), message=""
    )


def _folder_of(data: Mapping[str, Any]) -> str:
    return str(reports.mapping(data.get("trainArgs")).get("save_dir") or "")


def _free_of_references(repository: Repository | None, wanted: str) -> str:
    """A name that means no version already: `ul://team/shelf/production` is what the alias says, not a run."""
    names = {"repository": repository, "name": wanted}
    is_taken = repository is not None and any(kind.objects.filter(**names).exists() for kind in (Alias, Tag, Branch))
    if is_taken or wanted == "main" or is_version_number(wanted) or is_commit_id(wanted):
        return f"{wanted}-run"
    return wanted


# --- what it was made of -------------------------------------------------------------------------


def datasets_of(data: Mapping[str, Any], actor: Actor) -> list[str]:
    """The dataset of ours that it trains on, as a reference; none for a file of the client's own."""
    found = _DATASET.fullmatch(str(reports.mapping(data.get("trainArgs")).get("data") or ""))
    if found is None:
        return []
    version = _readable(RepositoryKind.DATASET, found[1], found[2], found[3], actor)
    return [_ref(version)] if version is not None else []


def base_of(data: Mapping[str, Any], actor: Actor) -> str | None:
    """The version that it starts from, if it came from here: by its `ul://` name, or by the file that was fetched."""
    arguments = reports.mapping(data.get("trainArgs"))
    if reports.is_resumed(data):
        return None
    for text in (str(arguments.get(name) or "") for name in ("pretrained", "model")):
        version: Version | None = None
        if named := _MODEL.fullmatch(text):
            version = _named_weights(named[1], named[2], named[3], actor)
        elif (fetched := _FETCHED.fullmatch(text)) and fetched[2].lower() == fetched[3].lower():
            version = _readable(RepositoryKind.MODEL, fetched[1], fetched[2], fetched[4], actor)
        if version is not None:
            return _ref(version)
    return None


def _named_weights(namespace: str, project: str, model: str, actor: Actor) -> Version | None:
    try:
        return find_weights(f"{namespace}/{project}", model, actor).version
    except (NotFoundError, ForbiddenError, InvalidInputError):
        return None


def _readable(kind: RepositoryKind, namespace: str, name: str, revision: str | None, actor: Actor) -> Version | None:
    """None for what is not here, or not for this reader: a path may only look like one of ours."""
    try:
        return find_existing_version(actor, Ref(kind, namespace, name, revision))
    except (NotFoundError, ForbiddenError, InvalidInputError):
        return None


def _ref(version: Version) -> str:
    return f"{version.repository.full_name}@{version.label}"
