"""Looking at runs, and the right to write to one."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from steelyard_contracts.errors import NotFoundError, RepositoryNotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.tracking import RunAnswer
from steelyard_platform.accounts.permissions import Action, Actor, demand, may
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.queries import find_job
from steelyard_platform.jobs.run_facts import RUN, WITH_RUN, is_run
from steelyard_platform.repos.models import Repository


def find_run(run_id: UUID, actor: Actor) -> Job:
    """A run whose team the actor may read. Raises: NotFoundError, also for a stranger's, and for another job."""
    job = find_job(run_id, actor)
    if not is_run(job):
        raise NotFoundError(f"There is no run {run_id}, or you may not see it.", job=str(run_id))
    return job


def runs_of(project: Repository, actor: Actor) -> QuerySet[Job]:
    """The runs of a project, for who may read its team's jobs."""
    runs = Job.objects.filter(kind=RUN, run__project=project).select_related(*WITH_RUN)
    return runs if may(actor, Action.READ, project.team.resource) else runs.none()


def project_for_writing(run: Job, actor: Actor) -> Repository:
    """The project of a run, if the actor may write to it. Raises: RepositoryNotFoundError, ForbiddenError."""
    project: Repository | None = run.run.project
    if project is None or project.is_trashed:
        raise RepositoryNotFoundError(f"The project of the run {run.run.name} was deleted; restore it from the trash.")
    demand(actor, Action.WRITE, project.resource)
    return project


def locked(run: Job) -> Job:
    """The run's newest state, with nobody else writing to it for the rest of the transaction.

    It is read after the lock was had: what is joined to a locked row may be older than the wait for it.
    """
    locked_alone(run)
    return Job.objects.select_related(*WITH_RUN).get(pk=run.pk)


def locked_alone(run: Job) -> Job:
    """The same without what is joined to it: for what is said many times a second."""
    return Job.objects.select_for_update().get(pk=run.pk)


def answer_of(run: Job) -> RunAnswer:
    """What the program that trains is told: a run that somebody cancelled hears it whenever it speaks."""
    is_asked = run.cancel_requested_at is not None and not JobState(run.state).is_final
    return RunAnswer(cancel=is_asked or run.state == JobState.CANCELLED, stop=run.stop_requested_at is not None)
