"""The states of a job: the drawing is the table, and the table is what the services ask."""

from __future__ import annotations

import itertools

import pytest

from steelyard_contracts.jobs import JobState

S = JobState


def test_a_job_walks_from_the_queue_to_its_end():
    way = [S.QUEUED, S.CLAIMED, S.RUNNING, S.UPLOADING, S.SUCCEEDED]
    assert all(before.may_become(after) for before, after in itertools.pairwise(way))


def test_success_is_for_good_and_every_other_end_can_be_resumed():
    assert not any(S.SUCCEEDED.may_become(state) for state in S)
    for end in (S.FAILED, S.CANCELLED, S.LOST):
        assert [state for state in S if end.may_become(state)] == [S.QUEUED]


def test_only_what_waits_is_claimed_and_only_what_was_held_is_lost():
    assert S.CLAIMED.sources == (S.QUEUED,)
    assert set(S.LOST.sources) == {state for state in S if state.is_held}


@pytest.mark.parametrize("state", list(S))
def test_a_state_waits_is_held_or_is_an_end(state):
    assert [state is S.QUEUED, state.is_held, state.is_final].count(True) == 1
