"""Looking at jobs: whose they are to see, and how they are shown."""

from __future__ import annotations

from uuid import UUID

from django.db import models

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.jobs import STOPPED_EARLY, AttemptView, JobView
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.estimates import remaining_seconds
from steelyard_platform.jobs.models import Attempt, Job
from steelyard_platform.jobs.run_facts import WITH_RUN, facts_of, is_run
from steelyard_platform.jobs.specs import OWN_KINDS


def find_job(job_id: UUID, actor: Actor) -> Job:
    """A job whose team the actor may read. Raises: NotFoundError, also for a stranger's."""
    job = Job.objects.select_related(*WITH_RUN).filter(pk=job_id).first()
    is_its_own = actor.subject_id("job") == job_id
    if job is None or not (is_its_own or may(actor, Action.READ, job.team.resource)):
        raise NotFoundError(f"There is no job {job_id}, or you may not see it.", job=str(job_id))
    return job


def asked_for() -> models.QuerySet[Job]:
    """The jobs that people asked for: without predictions, and what the platform asks for itself."""
    return Job.objects.exclude(kind__in=[*OWN_KINDS, "predict", "join"])


def view_of(job: Job) -> JobView:
    return JobView.model_validate(
        {
            "id": job.pk,
            "kind": job.kind,
            "state": job.state,
            "team": job.team.name,
            "spec": job.spec,
            "attempt": job.attempt,
            "progress": job.progress,
            "message": job.message,
            "created_by": job.created_by_name,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "cancel_requested": job.cancel_requested_at is not None,
            "result": job.result,
            "error": job.error or None,
            "stop_requested": job.stop_requested_at is not None,
            "stopped_early": bool(job.result.get(STOPPED_EARLY)),
            "not_before": job.not_before,
            "cloned_from": job.cloned_from_id,
            "resources": job.resources,
            "search": job.search_id,
            "trial": job.trial,
            "eta_seconds": remaining_seconds(job),
            "estimate": job.estimate,
            "run": facts_of(job) if is_run(job) else None,
        }
    )


def attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView.model_validate(
        {
            "number": attempt.number,
            "worker": attempt.worker,
            "started_at": attempt.started_at,
            "ended_at": attempt.ended_at,
            "ending": attempt.ending or None,
            "why": attempt.why,
            "resumed_from": attempt.resumed_from,
        }
    )
