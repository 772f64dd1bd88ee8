"""Which worker may do which job. What fits is decided by `steelyard_contracts.workers`, which this asks of the rows.

A worker hears of a job by the bell of one of its queues or by asking, and claims it in either case by the same
conditional update. The bell may reach one that the job does not fit: it is refused here, and those whom it fits hear
of it at their next sign of life.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Case, Q, QuerySet, Value, When
from django.utils import timezone

from steelyard_contracts.errors import ConflictError, ForbiddenError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.workers import QUICK, Capabilities, NextJob, Resources, fits, lacks, queue_named, queues_of
from steelyard_platform.accounts.models import Token
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs.leases import HELD
from steelyard_platform.jobs.models import Job, Worker

WAITS = "waits for"
# What a job says that is queued again, while its pause lasts.
AGAIN = "again after"
# An unregistered worker says nothing of itself: it gets what any machine can do.
_PLAIN = Capabilities(memory_gb=100_000)
_LOOKED_AT = 2000
_LONGEST_BEAT = 10.0
_BEATS_PER_LEASE = 4
_MISSED_BEATS = 4


@dataclass(frozen=True, slots=True)
class Known:
    """A worker as far as placement looks at it."""

    name: str
    team: int | None
    has: Capabilities
    is_here: bool  # at work or ready for it: neither silent nor stopped nor draining


def beat_seconds() -> float:
    return float(min(_LONGEST_BEAT, settings.ENVIRONMENT.lease_seconds / _BEATS_PER_LEASE))


def is_silent(last_seen: datetime) -> bool:
    return timezone.now() - last_seen > timedelta(seconds=_MISSED_BEATS * beat_seconds())


def admit(job_id: UUID, worker_id: UUID | None, actor: Actor) -> Worker | None:
    """The worker that the actor's token speaks for, if it may do the job. Called before the claim.

    Raises:
        ConflictError: the job needs what the worker lacks, is another team's, or the worker takes no more jobs.
        ForbiddenError: the place is not this token's.
    """
    worker = own_worker(worker_id, actor) if worker_id else None
    job = Job.objects.filter(pk=job_id).values_list("team_id", "kind", "resources").first()
    if job is None:
        return worker  # the claim says so
    team, kind, resources = job
    if not _serves(actor, team):
        raise ConflictError("This job is claimed by another worker, or has ended.", job=str(job_id))
    if worker is not None and worker.is_draining:
        raise ConflictError("This worker is draining: it takes no new job.", job=str(job_id))
    has = Capabilities.model_validate(worker.capabilities) if worker else _PLAIN
    if missing := lacks(has, Resources.model_validate(resources), kind=kind):
        raise ConflictError(f"The job needs {missing}, which this worker has not.", job=str(job_id))
    _admit_group(Resources.model_validate(resources), kind, team)
    return worker


def _admit_group(needs: Resources, kind: str, team: int) -> None:
    """A machine that would wait for others has better things to do. Raises: ConflictError."""
    if needs.hosts > 1 and (free := _fitting(_free(team), needs, kind)) < needs.hosts:
        raise ConflictError(f"The job needs {needs.hosts} machines at once, and {free} that fit are free.")


def _free(team: int) -> list[Known]:
    rows = Worker.objects.filter(Q(team=None) | Q(team=team)).exclude(job__state__in=HELD)
    return [one for one in _as_known(rows) if one.is_here]


def _fitting(known: Iterable[Known], needs: Resources, kind: str) -> int:
    return sum(fits(one.has, needs, kind=kind) for one in known)


def own_worker(worker_id: UUID, actor: Actor) -> Worker:
    """Raises: ForbiddenError when the token is not the one that the worker registered with."""
    worker = Worker.objects.select_related("team").filter(pk=worker_id, token_id=actor.token_id).first()
    if worker is None:
        raise ForbiddenError("This token has no such worker; register it again.")
    return worker


def note_claim(worker: Worker | None, job: Job) -> None:
    """Who is at the job now, and nobody else. Called in the claim's transaction."""
    Worker.objects.filter(job=job).update(job=None)
    if worker is not None:
        Worker.objects.filter(pk=worker.pk).update(job=job, stopped_at=None, last_seen_at=timezone.now())


def waiting_job_for(worker: Worker, exclude: Sequence[UUID] = ()) -> NextJob | None:
    """The job that waits longest of those that fit; first those that people, or other machines, wait for just now."""
    has = Capabilities.model_validate(worker.capabilities)
    rows = waiting_jobs().filter(queue__in=queues_of(has)).exclude(pk__in=exclude)
    if worker.team_id is not None:
        rows = rows.filter(team=worker.team_id)
    awaited = Q(queue=queue_named(QUICK)) | Q(leader__isnull=False)
    in_turn = rows.order_by(Case(When(awaited, then=Value(0)), default=Value(1)), "created_at")
    free: dict[int, list[Known]] = {}
    for pk, kind, resources, team in in_turn.values_list("pk", "kind", "resources", "team")[:_LOOKED_AT]:
        needs = Resources.model_validate(resources)
        if not fits(has, needs, kind=kind):
            continue
        if needs.hosts > 1:
            # One that has to wait for more machines keeps nobody from what comes after it.
            free[team] = free[team] if team in free else _free(team)
            if _fitting(free[team], needs, kind) < needs.hosts:
                continue
        return NextJob(job=pk, kind=kind, needs=needs)
    return None


def waiting_jobs() -> QuerySet[Job]:
    """Those that somebody may claim now: a job that failed may be in a pause."""
    is_due = Q(not_before=None) | Q(not_before__lte=timezone.now())
    return Job.objects.filter(is_due, state=JobState.QUEUED, cancel_requested_at=None)


def waiting_words(needs: Resources, kind: str, known: Iterable[Known]) -> str:
    """What a queued job waits for, and whether anybody could come."""
    wanted = f"{WAITS} a worker" if needs.hosts == 1 else f"{WAITS} {needs.hosts} workers at once"
    wanted += f" with {words}" if (words := needs.in_words()) else ""
    fitting = [one for one in known if fits(one.has, needs, kind=kind)]
    if any(one.is_here for one in fitting):
        return wanted
    if not fitting:
        return f"{wanted}; none is known"
    names = ", ".join(one.name for one in fitting[:3])
    return f"{wanted}; those known are away or draining: {names}"


def words_for(job: Job) -> str:
    """`waiting_words` of one job, with the workers there are now."""
    return waiting_words(Resources.model_validate(job.resources), job.kind, _known(job.team_id))


def refresh_waiting_words() -> int:
    """Says of each waiting job again what it waits for. Returns how many sentences changed."""
    unclaimed = Q(message__startswith=WAITS) | Q(message__startswith=AGAIN)
    waiting = list(waiting_jobs().filter(unclaimed).order_by("created_at")[:_LOOKED_AT])
    by_team: dict[int, list[Known]] = {}
    changed = []
    for job in waiting:
        if job.team_id not in by_team:
            by_team[job.team_id] = list(_known(job.team_id))
        words = waiting_words(Resources.model_validate(job.resources), job.kind, by_team[job.team_id])
        if words != job.message:
            changed.append((job.pk, words))
    for pk, words in changed:
        Job.objects.filter(unclaimed, pk=pk, state=JobState.QUEUED).update(message=words)
    return len(changed)


def _known(team: int) -> Iterator[Known]:
    return _as_known(Worker.objects.filter(Q(team=None) | Q(team=team)))


def _as_known(workers: QuerySet[Worker]) -> Iterator[Known]:
    for worker in workers.order_by("name")[:_LOOKED_AT]:
        yield Known(
            name=worker.name,
            team=worker.team_id,
            has=Capabilities.model_validate(worker.capabilities),
            is_here=worker.stopped_at is None and not worker.is_draining and not is_silent(worker.last_seen_at),
        )


def _serves(actor: Actor, team: int) -> bool:
    """Whether the worker's token is for that team's jobs, or for everybody's."""
    return not Token.objects.filter(pk=actor.token_id, team__isnull=False).exclude(team=team).exists()
