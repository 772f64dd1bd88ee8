"""`celery --app steelyard_workers.celery_entry worker --queues compute`: rings until somebody claims.

The message holds a job's id and is acknowledged at once: the lease in the platform's database, and not the
broker, decides who does the job and whether it has to be done again. Besides the queues of its command, a worker
listens to those of its labels, and to one of its own, in which it rings itself when a sign of life was answered with a
job.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from celery import Celery
from celery.signals import celeryd_after_setup, worker_shutdown

import steelyard_broker
from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.workers import queues_of
from steelyard_workers import hardware
from steelyard_workers.place import Place
from steelyard_workers.settings import read_settings
from steelyard_workers.supervise import supervise

_EXPIRES = 60

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
    worker_consumer="steelyard_workers.consumer:OneAtATime",
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
)
_places: list[Place] = []
_until_the_end = ExitStack()


@app.task(name="steelyard.run_job", ignore_result=True)
def run_job(job_id: str) -> None:
    """Does the job, unless another worker has it or it has ended."""
    (place,) = _places
    with place.at_work():
        supervise(UUID(job_id), place.settings)


@celeryd_after_setup.connect
def _begin(instance: Any, **_: Any) -> None:
    """Registers, and listens to the queues of what this machine has."""
    has = hardware.describe(settings)
    place = Place(settings, has, on_job=_ring_myself, on_refusal=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    try:
        _until_the_end.enter_context(place)
    except SteelyardError as error:
        raise SystemExit(f"The worker cannot register with {settings.url}: {error}") from error
    _places.append(place)
    for queue in [*queues_of(has), _own_queue()]:
        instance.app.amqp.queues.select_add(queue)


@worker_shutdown.connect
def _end(**_: Any) -> None:
    _until_the_end.close()


def _ring_myself(job: UUID) -> None:
    app.send_task("steelyard.run_job", args=[str(job)], queue=_own_queue(), expires=_EXPIRES, ignore_result=True)


def _own_queue() -> str:
    (place,) = _places
    return f"compute.worker-{place.settings.worker_id}"
