"""What becomes of a job when an attempt ends, without a database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from steelyard_contracts.jobs import AttemptEnd, Finish, JobState
from steelyard_platform.jobs.outcomes import Limits, after_finish, after_silence

LIMITS = Limits(max_attempts=3, pause=timedelta(seconds=10))
MAY_PASS = Finish(state=JobState.FAILED, error="The network is gone.", retryable=True)
RELEASED = Finish(state=JobState.FAILED, error="The worker was told to stop.", released=True)


def outcome(finish, failures=0, *, is_cancelled=False):
    return after_finish(finish, failures=failures, is_cancelled=is_cancelled, limits=LIMITS)


@pytest.mark.parametrize(("failures", "seconds"), [(0, 10), (1, 20)])
def test_a_cause_that_may_pass_is_waited_out_twice_as_long_each_time(failures, seconds):
    found = outcome(MAY_PASS, failures)
    assert (found.state, found.failures, found.pause) == (JobState.QUEUED, failures + 1, timedelta(seconds=seconds))


def test_the_last_attempt_that_fails_ends_the_job():
    found = outcome(MAY_PASS, failures=2)
    assert (found.state, found.ending, found.failures) == (JobState.FAILED, AttemptEnd.FAILED, 3)


def test_no_pause_is_longer_than_ten_minutes():
    limits = Limits(max_attempts=20, pause=timedelta(seconds=10))
    found = after_finish(MAY_PASS, failures=15, is_cancelled=False, limits=limits)
    assert found.pause == timedelta(minutes=10)


def test_wrong_input_is_not_tried_again():
    assert outcome(Finish(state=JobState.FAILED, error="One class.")).state == JobState.FAILED


def test_a_job_that_is_given_back_waits_for_nothing_and_loses_no_attempt():
    found = outcome(RELEASED, failures=2)
    assert (found.state, found.ending, found.failures) == (JobState.QUEUED, AttemptEnd.RELEASED, 2)
    assert not found.pause


@pytest.mark.parametrize("finish", [MAY_PASS, RELEASED])
def test_what_was_cancelled_is_not_tried_again(finish):
    assert outcome(finish, is_cancelled=True).state == JobState.CANCELLED


def test_a_success_that_came_before_the_cancel_counts():
    assert outcome(Finish(state=JobState.SUCCEEDED), is_cancelled=True).state == JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("failures", "is_cancelled", "state"),
    [
        (0, False, JobState.QUEUED),
        (2, False, JobState.LOST),
        (0, True, JobState.CANCELLED),
        (2, True, JobState.CANCELLED),
    ],
)
def test_silence_counts_as_an_attempt(failures, is_cancelled, state):
    found = after_silence(failures=failures, is_cancelled=is_cancelled, limits=LIMITS)
    assert (found.state, found.ending, found.failures) == (state, AttemptEnd.LOST, failures + 1)
