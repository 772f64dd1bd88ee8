"""Transfers that are killed in the middle: what is visible then, and what the next run moves.

`python -m tests.support.interruptions` does the same at full size, as often as you like.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.support.interruptions import MB, Direction, Plan, Protocol, Round, Surroundings, Victim

pytestmark = [pytest.mark.end_to_end, pytest.mark.service("s3")]

# One after the other, so that something is whole when the rest is cut off.
SETTINGS = (("HF_XET_FIXED_UPLOAD_CONCURRENCY", "1"),)
SIZES = {
    (Direction.PUSH, Protocol.XET): (90 * MB,),  # of two xorbs
    (Direction.PUSH, Protocol.LFS): (8 * MB,) * 6,
    (Direction.PULL, Protocol.XET): (8 * MB,) * 6,
    (Direction.PULL, Protocol.LFS): (8 * MB,) * 6,
}
# What is said and asked besides the bytes themselves.
WORDS = 3 * MB


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    around = Surroundings(tmp_path_factory.mktemp("surroundings"), rate=40 * MB)
    around.start()
    yield around
    around.stop()


@pytest.fixture
def seed():
    """Printed when the test fails; give it back by this variable."""
    chosen = int(os.environ.get("STEELYARD_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"STEELYARD_TEST_SEED={chosen}")
    return chosen


@pytest.mark.parametrize("victim", Victim)
@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("direction", Direction)
def test_what_was_killed_goes_on_and_nothing_half_is_ever_seen(
    surroundings, tmp_path, seed, direction, protocol, victim
):
    plan = Plan(
        direction, protocol, victim, SIZES[direction, protocol], seed=seed, shares=(0.78, 0.95), settings=SETTINGS
    )
    outcome = Round(surroundings, plan, tmp_path / "round").run()
    killed, last = outcome.attempts
    assert killed.kills == 1
    # More than all can be there: a client that starts over may put the same chunks into other xorbs.
    assert last.moved <= max(outcome.size - last.there, 0) + WORDS, outcome
    if direction is Direction.PUSH and protocol is Protocol.XET:
        assert last.there >= 64 * MB  # the first xorb had come whole
    if direction is Direction.PULL:
        assert last.there >= 3 * SIZES[direction, protocol][0]
