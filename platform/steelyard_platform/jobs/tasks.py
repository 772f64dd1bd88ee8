"""The light jobs that look after the heavy ones."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from steelyard_platform.jobs import archives, placement, predictions, services, tracking
from steelyard_platform.jobs.inspections import request_inspections


@shared_task(name="steelyard.look_after_jobs", ignore_result=True)
def look_after_jobs() -> None:
    """Requeues jobs whose worker went silent, rings again for those that nobody heard of, says what they wait for.

    Ends runs that were cancelled and are silent.
    """
    services.requeue_lost_jobs()
    services.keep_groups_whole()
    services.ring_for_waiting_jobs()
    services.drop_old_checkpoints()
    archives.forget_old()
    tracking.end_unheard_runs()
    placement.refresh_waiting_words()


@shared_task(name="steelyard.forget_predictions", ignore_result=True)
def forget_predictions() -> None:
    """Pictures that were looked at, and answers that are minutes old."""
    predictions.forget_old()


@shared_task(name="steelyard.request_inspections", ignore_result=True)
def ask_for_inspections() -> None:
    """Jobs that look into weights that nobody has looked into."""
    request_inspections()


@shared_task(name="steelyard.advance_searches", ignore_result=True)
def advance_all_searches() -> None:
    """Searches go on: trials that ended are told, bad ones are ended, new ones begin."""
    from steelyard_platform.jobs.trials import advance_searches  # here: Optuna is loaded by those who need it alone

    advance_searches()


@shared_task(name="steelyard.advance_search", ignore_result=True)
def advance_one_search(search: str) -> None:
    from steelyard_platform.jobs.trials import advance_search

    advance_search(UUID(search))
