"""How a worker takes messages: one, acknowledged before its job begins, and none while it is at it.

A job blocks Celery's event loop for as long as it takes, and Celery's own consumer acknowledges from that loop. For
hours, the message of the running job and one that was fetched in advance would then be unacknowledged: RabbitMQ closes
the channel of such a consumer after 30 minutes (`consumer_timeout`), Redis hands the message out once more after an
hour (`visibility_timeout`), and the one in advance waits behind a job while other workers idle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker import state
from celery.worker.consumer import Consumer
from vine import promise as new_promise


class OneAtATime(Consumer):
    """For the solo pool, whose work runs in the loop's own thread."""

    task_consumer: Any

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """At once: "soon" would be after the job."""
        return p(*args, **kwargs)

    def create_task_handler(self, promise: Any = new_promise) -> Callable[[Any], None]:
        handle = super().create_task_handler(promise)

        def take(message: Any) -> None:
            consumer = self.task_consumer
            consumer.cancel()
            try:
                handle(message)
            finally:
                # A worker that was told to stop must not take the very job that it has just given back.
                if consumer is self.task_consumer and not _is_stopping():
                    consumer.consume()

        return take


def _is_stopping() -> bool:
    """None until Celery is told, an exit status afterwards."""
    return state.should_stop is not None or state.should_terminate is not None
