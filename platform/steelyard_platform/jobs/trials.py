"""Moving searches on: trials that ended are told, bad ones are ended, new ones begin, and the search ends.

    advance_searches    every few seconds, all of them
    advance_search      one of them: at its start, and at the end of each of its trials

The rows are the truth, and no process holds anything else: this may stop anywhere, run twice, or in two processes at
once. Each step is one conditional update that a single one of them wins; the others find it done and go on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from pydantic import ValidationError

from steelyard_contracts.errors import InvalidInputError, SteelyardError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.searches import SearchSpec, SearchState, TrialState, trial_spec
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.wire import faults_in_words
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import PLATFORM
from steelyard_platform.jobs import search_results, services, suggestions
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.search_models import Search, Trial
from steelyard_platform.jobs.search_plan import Ask, End, Halt, Standing, Wait, next_step
from steelyard_platform.jobs.searches import STEWARD, cancel_quietly, cancel_trials, requester_of, spec_of
from steelyard_platform.jobs.suggestions import PastTrial
from steelyard_platform.jobs.trial_outcomes import outcome_of
from steelyard_platform.jobs.trial_reports import Reports, reports_of_running

_AT_ONCE = 200
_ENDED_JOBS = [state for state in JobState if state.is_final]
_GOING = [SearchState.RUNNING, SearchState.STOPPING]
_log = logging.getLogger(__name__)


def advance_searches() -> None:
    """All that have something to do, whatever becomes of one of them."""
    running = Trial.objects.filter(search=OuterRef("pk"), state=TrialState.RUNNING)
    busy = Search.objects.filter(Q(state__in=_GOING) | Q(is_due=True) | Exists(running))
    found = list(busy.order_by("created_at").values_list("pk", flat=True)[:_AT_ONCE])
    reports = reports_of_running(found)
    for search in found:
        try:
            _advance(search, reports)
        except Exception:  # noqa: BLE001 - one fault of one search is no other's; it is tried again
            _log.exception("search %s could not be moved on", search)


def advance_search(search_id: UUID) -> None:
    _advance(search_id, reports_of_running([search_id]))


def _advance(search_id: UUID, reports: Reports) -> None:
    search = Search.objects.select_related("team", "created_by").filter(pk=search_id).first()
    if search is None:
        return
    spec = spec_of(search)
    if settle(search, spec, reports):
        search_results.choose_best(search, spec)
        search_results.drop_beaten(search, spec)
    if SearchState(search.state).is_final:
        if search.is_due:
            search_results.deliver(search, spec)
        return
    note_reports(search, spec, reports)
    _go_on(search, spec)


# --- trials that ended ---------------------------------------------------------------------------


def settle(search: Search, spec: SearchSpec, reports: Reports) -> int:
    """Says of each trial whose job has ended what came of it. Returns how many there were."""
    _take_up_again(search)
    ended = Trial.objects.select_related("job").filter(search=search, state=TrialState.RUNNING)
    settled = 0
    for trial in ended.filter(job__state__in=_ENDED_JOBS).order_by("job__finished_at", "number"):
        assert trial.job is not None  # noqa: S101 - the query asks for those that have one
        outcome = outcome_of(spec, trial.job, trial.reason, reports.get(trial.pk, trial.reports))
        still = Trial.objects.filter(pk=trial.pk, state=TrialState.RUNNING)
        with transaction.atomic():
            settled += still.update(
                state=outcome.state,
                value=outcome.value,
                version=outcome.version,
                reason=outcome.reason[:500],
                reports=list(reports.get(trial.pk, trial.reports)),
                finished_at=trial.job.finished_at or timezone.now(),
            )
            if outcome.state is TrialState.PRUNED:
                Job.objects.filter(pk=trial.job.pk, state=JobState.CANCELLED).update(message=outcome.reason[:500])
    return settled


def _take_up_again(search: Search) -> None:
    """Somebody has resumed the job of a trial that had ended: it counts again, when it ends."""
    if SearchState(search.state).is_final:
        return
    resumed = Trial.objects.filter(search=search, job__isnull=False).exclude(state=TrialState.RUNNING)
    resumed.exclude(job__state__in=_ENDED_JOBS).update(state=TrialState.RUNNING, reason="", finished_at=None)


# --- trials that are not worth their while -------------------------------------------------------


def note_reports(search: Search, spec: SearchSpec, reports: Reports) -> None:
    """Keeps what running trials have reported, and ends those that the pruner gives up."""
    running = Trial.objects.filter(search=search, state=TrialState.RUNNING, reason="")
    news = {trial.number: trial for trial in running if trial.pk in reports and len(reports[trial.pk]) > trial.judged}
    if not news:
        return
    seen = {number: reports[trial.pk] for number, trial in news.items()}
    ended = suggestions.to_prune(spec, _past(search, seen))
    for number, trial in news.items():
        _note(trial, seen[number], ended.get(number))


def _note(trial: Trial, reports: Sequence[float | None], ended_at: int | None) -> None:
    with transaction.atomic():
        still = Trial.objects.filter(pk=trial.pk, state=TrialState.RUNNING, reason="")
        reason = "" if ended_at is None else f"pruned at report {ended_at}"
        if not still.update(reports=list(reports), judged=len(reports), reason=reason) or ended_at is None:
            return
        job = Job.objects.select_related("team").get(search=trial.search_id, trial=trial.number)
        if not cancel_quietly(job, STEWARD):  # it has ended meanwhile: then its end is what counts
            Trial.objects.filter(pk=trial.pk).update(reason="")


def _past(search: Search, news: Mapping[int, Sequence[float | None]] | None = None) -> list[PastTrial]:
    """All trials so far, with what has just come in of those that run."""
    fields = ("number", "state", "params", "value", "reports", "judged")
    rows = Trial.objects.filter(search=search).order_by("number").values_list(*fields)
    return [
        PastTrial(number, TrialState(state), params, value, (news or {}).get(number, reports), judged)
        for number, state, params, value, reports, judged in rows
    ]


# --- what comes next ------------------------------------------------------------------------------


def _go_on(search: Search, spec: SearchSpec) -> None:
    while True:
        match next_step(spec, standing_of(search), timezone.now()):
            case Wait():
                return
            case Ask():
                if not _begin_next(search, spec):
                    return
            case Halt(message=message):
                Search.objects.filter(pk=search.pk, state=SearchState.RUNNING).update(
                    state=SearchState.STOPPING, message=message
                )
            case End() as end:
                _end(search, end)
                search_results.deliver(search, spec)
                return


def standing_of(search: Search) -> Standing:
    now = Search.objects.get(pk=search.pk)
    rows = list(
        Trial.objects.filter(search=search)
        .order_by("finished_at", "number")
        .values_list("state", "finished_at", "reason")
    )
    ended = [(state, at, reason) for state, at, reason in rows if at is not None]
    failures = [reason for state, _, reason in ended if state == TrialState.FAILED]
    return Standing(
        state=SearchState(now.state),
        asked=now.asked,
        running=len(rows) - len(ended),
        complete=sum(state == TrialState.COMPLETE for state, _, _ in ended),
        ended=[TrialState(state) for state, at, _ in ended if at >= now.started_at],
        last_failure=failures[-1] if failures else "",
        started_at=now.started_at,
    )


def _begin_next(search: Search, spec: SearchSpec) -> bool:
    """Asks for a trial and queues its job. False when another process was first, or the search cannot go on."""
    past = _past(search)
    number = len(past) + 1
    params = suggestions.suggest(spec, past, number)
    try:
        train = trial_spec(spec.train, params, branch=f"{search.branches}{number}")
        return _begin(search, spec, number, params, train)
    except (ValidationError, InvalidInputError) as error:
        return _note_impossible(search, number, params, _sentence(error))
    except SteelyardError as error:
        _end(search, End(SearchState.FAILED, f"Trial {number} could not be asked for: {error}"))
        return False


@transaction.atomic
def _begin(search: Search, spec: SearchSpec, number: int, params: dict[str, object], train: TrainSpec) -> bool:
    if not _claim(search, number):
        return False
    job = services.request_job(spec=train, actor=requester_of(search), resources=spec.resources)
    Job.objects.filter(pk=job.pk).update(search=search, trial=number)
    Trial.objects.create(search=search, number=number, params=params, job=job)
    return True


@transaction.atomic
def _note_impossible(search: Search, number: int, params: dict[str, object], reason: str) -> bool:
    """Values that do not go together: a trial that failed before it began."""
    if not _claim(search, number):
        return False
    ended = {"state": TrialState.FAILED, "reason": reason[:500], "finished_at": timezone.now()}
    Trial.objects.create(search=search, number=number, params=params, **ended)
    return True


def _claim(search: Search, number: int) -> bool:
    """Whoever raises the count makes the trial; for anybody else it is made already."""
    before = Search.objects.filter(pk=search.pk, state=SearchState.RUNNING, asked=number - 1)
    return bool(before.update(asked=number))


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return faults_in_words(error)
    return str(error)


@transaction.atomic
def _end(search: Search, end: End) -> None:
    is_well = end.state in {SearchState.SUCCEEDED, SearchState.STOPPED}
    changes: dict[str, object] = {"state": end.state, "finished_at": timezone.now(), "is_due": is_well}
    if end.message:
        changes["message"] = end.message
    if not Search.objects.filter(pk=search.pk, state__in=_GOING).update(**changes):
        return
    cancel_trials(search, STEWARD)
    audit.record(PLATFORM, "end search", str(search.pk), state=end.state, message=end.message)
