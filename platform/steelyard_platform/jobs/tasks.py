"""The light jobs that look after the heavy ones."""

from __future__ import annotations

from celery import shared_task

from steelyard_platform.jobs import services
from steelyard_platform.jobs.inspections import request_inspections


@shared_task(name="steelyard.look_after_jobs", ignore_result=True)
def look_after_jobs() -> None:
    """Requeues jobs whose worker went silent, and rings again for those that nobody heard of."""
    services.requeue_lost_jobs()
    services.ring_for_waiting_jobs()


@shared_task(name="steelyard.request_inspections", ignore_result=True)
def ask_for_inspections() -> None:
    """Jobs that look into weights that nobody has looked into."""
    request_inspections()
