"""What a search does next, from what is known of it alone. Pure: no database, no clock of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from steelyard_contracts.searches import SearchSpec, SearchState, TrialState
from steelyard_contracts.words import count_in_words


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a search stands.

    Attributes:
        state: of the search.
        asked: how many trials were ever begun.
        running: how many of them have not ended.
        complete: how many gave a value.
        ended: the states of those that ended since the search was started or resumed, in the order of their ends.
        last_failure: what the last failed one said.
        started_at: when it was started, or resumed.
    """

    state: SearchState
    asked: int
    running: int
    complete: int
    ended: Sequence[TrialState]
    last_failure: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Until a trial ends."""


@dataclass(frozen=True, slots=True)
class Ask:
    """For so many trials more."""

    count: int


@dataclass(frozen=True, slots=True)
class Halt:
    """No more trials; those that run are let end."""

    message: str


@dataclass(frozen=True, slots=True)
class End:
    state: SearchState
    message: str


Step = Wait | Ask | Halt | End


def next_step(spec: SearchSpec, standing: Standing, now: datetime) -> Step:
    """What to do now. A search that has ended waits for ever."""
    match standing.state:
        case SearchState.RUNNING:
            return _go_on(spec, standing, now)
        case SearchState.STOPPING if standing.running == 0:
            return End(SearchState.STOPPED, "")
        case _:
            return Wait()


def _go_on(spec: SearchSpec, standing: Standing, now: datetime) -> Step:
    if (failures := _failures_in_a_row(standing.ended)) >= spec.most_failures:
        last = f" The last: {standing.last_failure}" if standing.last_failure else ""
        return End(SearchState.FAILED, f"{count_in_words(failures, 'trial')} in a row failed.{last}")
    if standing.asked < spec.limit:
        if _is_over(spec, standing, now):
            return Halt(f"The time limit of {spec.time_limit_hours:g} hours is over.")
        free = min(spec.parallel - standing.running, spec.limit - standing.asked)
        return Ask(free) if free > 0 else Wait()
    if standing.running:
        return Wait()
    if standing.complete == 0:
        return End(SearchState.FAILED, f"None of the trials completed. {standing.last_failure}".strip())
    return End(SearchState.SUCCEEDED, "")


def _failures_in_a_row(ended: Sequence[TrialState]) -> int:
    """At the end of the line. A trial that somebody cancelled says nothing of the others."""
    count = 0
    for state in reversed(ended):
        match state:
            case TrialState.FAILED:
                count += 1
            case TrialState.CANCELLED:
                continue
            case _:
                return count
    return count


def _is_over(spec: SearchSpec, standing: Standing, now: datetime) -> bool:
    hours = spec.time_limit_hours
    return hours is not None and now - standing.started_at >= timedelta(hours=hours)
