"""`celery --app steelyard_workers.celery_entry worker --queues compute`: rings until somebody claims.

The message holds a job's id and is acknowledged at once: the lease in the platform's database, and not the
broker, decides who does the job and whether it has to be done again.
"""

from __future__ import annotations

from uuid import UUID

from celery import Celery

import steelyard_broker
from steelyard_workers.settings import read_settings
from steelyard_workers.supervise import supervise

settings = read_settings()
steelyard_broker.register()

app = Celery("steelyard_workers")
app.conf.update(
    broker_url=settings.broker_url or f"{steelyard_broker.SCHEME}://localhost//",
    broker_transport_options={} if settings.broker_url else {"folder": settings.broker_folder},
    broker_connection_retry_on_startup=True,
    # A job blocks the loop that would answer a broker's heartbeats; TCP notices a dead peer as well.
    broker_heartbeat=0,
    task_acks_late=False,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
)


@app.task(name="steelyard.run_job", ignore_result=True)
def run_job(job_id: str) -> None:
    """Does the job, unless another worker has it or it has ended."""
    supervise(UUID(job_id), settings)
