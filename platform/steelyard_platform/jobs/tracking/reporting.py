"""What a run says of itself while it trains: points, lines, pictures. Each once, however often it is sent.

What comes late, out of order or after the end is kept all the same; only a run that ended as cancelled keeps nothing
more, and is told so quietly. What is too much is left out, and one line in the log says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import JobState, LogLine, MetricPoint
from steelyard_contracts.tracking import MOST_LINE_NUMBERS, RunAnswer, plain_text, sample_name
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import series
from steelyard_platform.jobs.models import Job, TrackedRun
from steelyard_platform.jobs.models import LogLine as LogLineRow
from steelyard_platform.jobs.samples import keep_sample
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.jobs.tracking.finding import answer_of, locked, locked_alone, project_for_writing

# How exactly it is known when a run was heard of; silence is told by minutes.
_HEARD_EVERY = timedelta(seconds=2)
# The platform's own lines, each said once in an attempt.
_TOO_MANY_NAMES, _TOO_LONG_A_LOG = MOST_LINE_NUMBERS, MOST_LINE_NUMBERS + 1


def write_points(*, run: Job, points: Sequence[MetricPoint], actor: Actor) -> RunAnswer:
    """Keeps the points; none at all is a sign of life. Of more names than a run may have, the first are kept.

    Raises: RepositoryNotFoundError, ForbiddenError.
    """
    project_for_writing(run, actor)
    with transaction.atomic(savepoint=False):
        job = locked_alone(run)
        total, heard_at = TrackedRun.objects.values_list("total_steps", "heard_at").get(job=job)
        if job.state != JobState.CANCELLED and points:
            kept = _of_known_names(job, points)
            series.write_points(job.pk, kept)
            _note_progress(job, kept, total=total)
        if timezone.now() - heard_at > _HEARD_EVERY:
            _note_heard(job)
    return answer_of(job)


def write_lines(*, run: Job, lines: Sequence[LogLine], actor: Actor, attempt: int | None = None) -> RunAnswer:
    """Keeps the lines, of the present attempt unless another is named. A log that is full takes no more.

    Raises: InvalidInputError for an attempt that has not been; RepositoryNotFoundError, ForbiddenError.
    """
    project_for_writing(run, actor)
    with transaction.atomic():
        job = locked(run)
        number = job.attempt if attempt is None else attempt
        if number > job.attempt:
            raise InvalidInputError(f"The run is at its attempt {job.attempt}; there is no attempt {number} yet.")
        if job.state != JobState.CANCELLED:
            _keep_lines(job, number, lines)
        _note_heard(job)
    return answer_of(job)


def write_sample(*, run: Job, name: str, step: int, png: bytes, actor: Actor) -> RunAnswer:
    """Keeps a picture; its name is cleaned, as those of metrics are.

    Raises: InvalidInputError, TooLargeError, ConflictError, as `samples`; RepositoryNotFoundError, ForbiddenError.
    """
    project_for_writing(run, actor)
    if run.state != JobState.CANCELLED:
        keep_sample(run, name=sample_name(name), step=step, png=png, hold=lambda: locked(run))
    _note_heard(run)
    return answer_of(run)


def _of_known_names(job: Job, points: Sequence[MetricPoint]) -> Sequence[MetricPoint]:
    """Without the points of names that are more than a run may have."""
    most = settings.ENVIRONMENT.run_metric_names
    names = dict.fromkeys(point.name for point in points)
    rows = MetricSeries.objects.filter(job=job)
    room = most - rows.count()
    if len(names) <= room:
        return points
    known = set(rows.filter(name__in=list(names)).values_list("name", flat=True))
    new = [name for name in names if name not in known]
    if len(new) <= room:
        return points
    kept = known.union(new[: max(room, 0)])
    _say(
        job,
        _TOO_MANY_NAMES,
        f"Only the first {most} metric names are kept; left out: {new[max(room, 0)]!r} and others.",
    )
    return [point for point in points if point.name in kept]


def _note_progress(job: Job, points: Sequence[MetricPoint], *, total: int | None) -> None:
    """How far the steps are towards their end, when the run said where that is."""
    if not total or JobState(job.state).is_final:
        return
    step = max((point.step for point in points if not point.name.startswith(series.METERS)), default=-1)
    progress = min((step + 1) / total, 1.0)
    if progress > job.progress:
        Job.objects.filter(pk=job.pk).update(progress=progress)


def _keep_lines(job: Job, attempt: int, lines: Sequence[LogLine]) -> None:
    by_number = {line.number: plain_text(line.text) for line in lines}
    if any(number >= MOST_LINE_NUMBERS for number in by_number):
        raise InvalidInputError(f"Lines are numbered from 0 to {MOST_LINE_NUMBERS - 1} within an attempt.")
    known = LogLineRow.objects.filter(job=job, attempt=attempt, number__in=list(by_number))
    for number in known.values_list("number", flat=True):
        del by_number[number]
    most, used = settings.ENVIRONMENT.run_log_megabytes * 1_000_000, int(job.run.log_bytes)
    kept = []
    for number, text in by_number.items():
        used += len(text.encode()) + 1
        if used > most:
            megabytes = settings.ENVIRONMENT.run_log_megabytes
            _say(
                job,
                _TOO_LONG_A_LOG,
                f"The log has {megabytes} MB, as much as is kept of a run; what follows is left out.",
            )
            break
        kept.append(LogLine(number=number, text=text))
    if kept:
        series.write_lines(job.pk, attempt, kept)
        written = sum(len(line.text.encode()) + 1 for line in kept)
        TrackedRun.objects.filter(job=job).update(log_bytes=int(job.run.log_bytes) + written)


def _say(job: Job, number: int, text: str) -> None:
    series.write_lines(job.pk, job.attempt, [LogLine(number=number, text=text)])


def _note_heard(job: Job) -> None:
    if not JobState(job.state).is_final:
        TrackedRun.objects.filter(job=job).update(heard_at=timezone.now())
