"""What a rollout does next."""

from __future__ import annotations

import pytest

from steelyard_contracts.fleet import InstallState as S
from steelyard_platform.fleet.plan import Step, next_step


@pytest.mark.parametrize(
    ("stages", "current", "allowed", "step"),
    [
        ({0: [S.OFFERED], 1: [S.WAITING]}, 0, 0, Step.WAIT),
        ({0: [S.HEALTHY], 1: [S.WAITING]}, 0, 0, Step.ADVANCE),
        ({0: [S.ROLLED_BACK], 1: [S.WAITING]}, 0, 0, Step.HALT),
        ({0: [S.FAILED], 1: [S.WAITING]}, 0, 1, Step.ADVANCE),
        ({0: [S.HEALTHY], 1: [S.HEALTHY, S.INSTALLING]}, 1, 0, Step.WAIT),
        ({0: [S.HEALTHY], 1: [S.HEALTHY, S.ROLLED_BACK]}, 1, 1, Step.COMPLETE),
        ({0: [S.HEALTHY], 1: [S.OFFERED, S.ROLLED_BACK]}, 1, 0, Step.HALT),
        ({0: [S.HEALTHY]}, 0, 0, Step.COMPLETE),
    ],
)
def test_the_step_follows_from_the_states(stages, current, allowed, step):
    assert next_step(stages, current, allowed) is step
