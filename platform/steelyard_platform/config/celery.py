"""The Celery app of the platform's side: it sends job ids to the compute queue and runs the light jobs."""

from __future__ import annotations

from typing import Any

from celery import Celery
from django.conf import settings

import steelyard_broker

LIGHT_QUEUE = "light"
_TASK_MODULES = [
    "steelyard_platform.datasets.tasks",
    "steelyard_platform.jobs.tasks",
    "steelyard_platform.fleet.tasks",
    "steelyard_platform.repos.tasks",
    "steelyard_platform.weights.tasks",
]


def broker_options(broker_url: str, folder: str) -> dict[str, Any]:
    """Celery's connection settings: the configured broker, or the embedded one in `folder`."""
    steelyard_broker.register()
    if not broker_url:
        return {
            "broker_url": f"{steelyard_broker.SCHEME}://localhost//",
            "broker_transport_options": {"folder": folder},
        }
    return {"broker_url": broker_url}


app = Celery("steelyard_platform", include=_TASK_MODULES)
app.conf.update(
    **broker_options(settings.ENVIRONMENT.broker_url, str(settings.ENVIRONMENT.broker_folder)),
    broker_connection_retry_on_startup=True,
    task_default_queue=LIGHT_QUEUE,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    beat_schedule_filename=str(settings.ENVIRONMENT.var / "beat-schedule"),
    beat_schedule={
        "look after jobs": {"task": "steelyard.look_after_jobs", "schedule": 5.0, "options": {"expires": 30}},
        "advance searches": {"task": "steelyard.advance_searches", "schedule": 3.0, "options": {"expires": 30}},
        "request inspections": {
            "task": "steelyard.request_inspections",
            "schedule": 3.0,
            "options": {"expires": 30},
        },
        "forget predictions": {"task": "steelyard.forget_predictions", "schedule": 20.0, "options": {"expires": 30}},
        "collect garbage": {"task": "steelyard.collect_garbage", "schedule": 86_400.0, "options": {"expires": 3600}},
        "look after trash": {"task": "steelyard.look_after_trash", "schedule": 3600.0, "options": {"expires": 1800}},
        "convert files": {"task": "steelyard.convert_files", "schedule": 10.0, "options": {"expires": 30}},
        "deliver webhooks": {"task": "steelyard.deliver_webhooks", "schedule": 5.0, "options": {"expires": 30}},
        "sign new versions": {
            "task": "steelyard.sign_versions",
            "schedule": 5.0,
            "args": (1000,),
            "options": {"expires": 30},
        },
        # Older ones: what a revoked key had signed, or was there before signatures were.
        "sign all versions": {"task": "steelyard.sign_versions", "schedule": 300.0, "options": {"expires": 60}},
        "index search": {"task": "steelyard.index_search", "schedule": 30.0, "options": {"expires": 30}},
        "advance rollouts": {
            "task": "steelyard.advance_rollouts",
            "schedule": 5.0,
            "options": {"expires": 30},
        },
    },
)
app.set_default()
