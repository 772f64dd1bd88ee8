"""What a rollout does next, decided from the states of its devices alone. Pure.

all of the stage healthy, or failed within the allowance   -> the next stage, or the end
more failures than allowed                                  -> halt: nobody else is offered the release
otherwise                                                   -> wait
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from steelyard_contracts.fleet import InstallState


class Step(StrEnum):
    WAIT = "wait"
    ADVANCE = "advance"
    COMPLETE = "complete"
    HALT = "halt"


def next_step(stages: Mapping[int, Sequence[InstallState]], current: int, max_failures: int) -> Step:
    """The step after the devices of every stage are as given; `current` is the stage that is being offered."""
    bad = sum(state.is_bad for states in stages.values() for state in states)
    if bad > max_failures:
        return Step.HALT
    if not all(state.is_final for state in stages[current]):
        return Step.WAIT
    return Step.COMPLETE if current == max(stages) else Step.ADVANCE


# What a device may report, given what it last reported. Anything else is out of order and refused.
ALLOWED_REPORTS: Mapping[InstallState, frozenset[InstallState]] = {
    InstallState.WAITING: frozenset(),
    InstallState.OFFERED: frozenset(
        {InstallState.INSTALLING, InstallState.HEALTHY, InstallState.ROLLED_BACK, InstallState.FAILED}
    ),
    InstallState.INSTALLING: frozenset(
        {InstallState.INSTALLING, InstallState.HEALTHY, InstallState.ROLLED_BACK, InstallState.FAILED}
    ),
    InstallState.HEALTHY: frozenset({InstallState.HEALTHY}),
    InstallState.ROLLED_BACK: frozenset({InstallState.ROLLED_BACK}),
    InstallState.FAILED: frozenset({InstallState.FAILED}),
}
