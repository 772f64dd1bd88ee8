"""Finding jobs, and what stands beside each in a list: its headline measure and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Q, TextField
from django.db.models.functions import Cast

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import JobState
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.queries import asked_for
from steelyard_platform.jobs.run_facts import WITH_RUN
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.repos.paging import page_of

# The measures that a job is known by, the first that it has; and as others call them, whose trainings report here.
HEADLINES = ("accuracy", "map50_95", "map50", "mean_iou", "loss")
_OTHERS = {
    "accuracy": ("val/accuracy", "val_accuracy", "eval_accuracy", "metrics/accuracy_top1", "accuracy"),
    "map50_95": ("metrics/mAP50-95_B", "metrics/mAP50-95_M"),
    "map50": ("metrics/mAP50_B", "metrics/mAP50_M"),
    "mean_iou": ("val/mean_iou",),
    "loss": ("val/loss", "val_loss", "eval_loss", "loss", "train/loss"),
}
_SERIES = {name: (f"validation/{name}", *_OTHERS[name]) for name in HEADLINES}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Conditions on jobs; empty ones hold for all. `text` is looked for in what was asked for, and by whom.

    With `asked_for`, and no kind, those alone that people asked for.
    """

    team: str = ""
    kind: str = ""
    state: str = ""
    text: str = ""
    cloned_from: UUID | None = None
    repository: UUID | None = None
    asked_for: bool = False


@dataclass(frozen=True, slots=True)
class Headline:
    name: str
    value: float | None
    seconds: float | None


def find_jobs(actor: Actor, wanted: Wanted, *, cursor: str | None, limit: int) -> tuple[list[Job], str | None]:
    """The jobs of the actor's teams, newest first, and the cursor to go on with. Raises: InvalidInputError."""
    if "\x00" in f"{wanted.team}{wanted.kind}{wanted.text}":
        return [], None  # no row can hold it, and PostgreSQL takes no such question
    teams = [one for one in Team.objects.filter(pk__in=list(actor.roles)) if may(actor, Action.READ, one.resource)]
    rows = asked_for() if wanted.asked_for and not wanted.kind else Job.objects.all()
    rows = rows.filter(team__in=teams).select_related(*WITH_RUN)
    if wanted.team:
        rows = rows.filter(team__name__iexact=wanted.team)
    if wanted.kind:
        rows = rows.filter(kind=wanted.kind)
    if wanted.state:
        if wanted.state not in set(JobState):
            raise InvalidInputError(f"{wanted.state!r} is no state of a job; there are: {', '.join(JobState)}.")
        rows = rows.filter(state=wanted.state)
    if wanted.repository is not None:
        rows = rows.filter(repository=wanted.repository)
    if wanted.cloned_from is not None:
        rows = rows.filter(cloned_from=wanted.cloned_from)
    for word in wanted.text.split():
        has_it = Q(said__icontains=word) | Q(created_by_name__icontains=word) | Q(message__icontains=word)
        has_it |= Q(run__name__icontains=word) | Q(run__project__name__icontains=word)
        rows = rows.alias(said=Cast("spec", TextField())).filter(has_it | Q(error__icontains=word))
    return page_of(rows, field="created_at", cursor=cursor, limit=limit)


def headlines(jobs: Sequence[Job]) -> list[Headline]:
    """One for each job, in their order. Two queries at most, however many there are."""
    names = [series for name in HEADLINES for series in _SERIES[name]]
    rows = MetricSeries.objects.filter(job__in=jobs, name__in=names).values_list("job_id", "name", "last_value")
    measured = {(job, name): value for job, name, value in rows if value is not None}
    return [_headline(job, measured) for job in jobs]


def _headline(job: Job, measured: dict[tuple[UUID, str], float]) -> Headline:
    seconds = (job.finished_at - job.started_at) / timedelta(seconds=1) if job.finished_at and job.started_at else None
    for name in HEADLINES:
        reported = job.result.get(name)
        known = (measured[job.pk, one] for one in _SERIES[name] if (job.pk, one) in measured)
        value = reported if isinstance(reported, int | float) else next(known, None)
        if value is not None:
            return Headline(name, value, seconds)
    return Headline("", None, seconds)
