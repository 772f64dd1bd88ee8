"""The light job that moves rollouts on, for a report whose own step was interrupted."""

from __future__ import annotations

from celery import shared_task

from steelyard_contracts.fleet import RolloutState
from steelyard_platform.fleet.models import Rollout
from steelyard_platform.fleet.services import advance_rollout


@shared_task(name="steelyard.advance_rollouts", ignore_result=True)
def advance_rollouts() -> None:
    for rollout_id in Rollout.objects.filter(state=RolloutState.RUNNING).values_list("pk", flat=True)[:500]:
        advance_rollout(rollout_id)
