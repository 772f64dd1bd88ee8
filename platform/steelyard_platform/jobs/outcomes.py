"""What becomes of a job when an attempt ends: decided from what is known, without looking anything up.

    succeeded, wrong input ............. the job ends so
    a cause that may pass, or silence .. again, after a pause that doubles; `max_attempts` of them end it
    given back ......................... again at once, and the attempt does not count
    again, but somebody cancelled it ... cancelled

The services lock the job, ask here, and write what is answered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from steelyard_contracts.jobs import AttemptEnd, Finish, JobState

_LONGEST_PAUSE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Limits:
    max_attempts: int
    pause: timedelta  # after the first failure


@dataclass(frozen=True, slots=True)
class Outcome:
    """The job's next state, how its attempt ended, and how many attempts count from now on."""

    state: JobState
    ending: AttemptEnd
    failures: int
    pause: timedelta = timedelta(0)


def after_finish(finish: Finish, *, failures: int, is_cancelled: bool, limits: Limits) -> Outcome:
    """`failures`: of attempts before this one."""
    match finish.state:
        case JobState.SUCCEEDED:
            return Outcome(JobState.SUCCEEDED, AttemptEnd.SUCCEEDED, failures)
        case JobState.CANCELLED:
            return Outcome(JobState.CANCELLED, AttemptEnd.CANCELLED, failures)
        case JobState.FAILED if finish.released:
            return Outcome(_again(is_cancelled=is_cancelled), AttemptEnd.RELEASED, failures)
        case JobState.FAILED if finish.retryable and failures + 1 < limits.max_attempts:
            state = _again(is_cancelled=is_cancelled)
            return Outcome(state, AttemptEnd.FAILED, failures + 1, _pause(failures, limits))
        case JobState.FAILED:
            return Outcome(JobState.FAILED, AttemptEnd.FAILED, failures + 1)


def after_silence(*, failures: int, is_cancelled: bool, limits: Limits) -> Outcome:
    """The lease ended. Waiting for that was pause enough."""
    is_last = failures + 1 >= limits.max_attempts and not is_cancelled
    state = JobState.LOST if is_last else _again(is_cancelled=is_cancelled)
    return Outcome(state, AttemptEnd.LOST, failures + 1)


def of_companion(outcome: Outcome) -> Outcome:
    """A machine that joined a training is not tried again by itself: the group is, whole."""
    state = JobState.FAILED if outcome.state is JobState.QUEUED else outcome.state
    return replace(outcome, state=state, pause=timedelta(0))


def _again(*, is_cancelled: bool) -> JobState:
    return JobState.CANCELLED if is_cancelled else JobState.QUEUED


def _pause(failures: int, limits: Limits) -> timedelta:
    doubled: timedelta = limits.pause * 2**failures
    return min(doubled, _LONGEST_PAUSE)
