"""The embedded broker: a Celery message queue in a folder, for an installation on one machine.

    register()
    app = Celery(broker="folder://localhost//", broker_transport_options={"folder": "/var/steelyard/broker"})

    root/.writing/NAME   half-written messages, which no reader sees
    root/<queue>/NAME    whole messages: `os.replace` put them there, `os.unlink` claims them

kombu's own filesystem transport lets a reader see a half-written file, and truncates its table of bindings
before it locks it. Here a message is published by a rename and claimed by the one process whose unlink
succeeds, so none is torn and none is delivered twice. It is a doorbell, not a record: a message in the hands
of a killed worker is gone, and the database rings again.
"""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.utils.json import dumps, loads

SCHEME = "folder"
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*")
_WRITING = ".writing"


def register() -> None:
    """Teaches kombu the scheme `folder://`. Call it before the Celery app connects; twice is the same as once."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"


class Channel(virtual.Channel):
    """One folder for each queue; a file for each message, named so that they sort by age."""

    do_restore = True  # a worker that stops cleanly puts back what it had prefetched

    @property
    def root(self) -> Path:
        client: Any = self.connection.client
        return Path(client.transport_options["folder"])

    def _folder(self, queue: str) -> Path:
        if not _QUEUE_NAME.fullmatch(queue):
            raise ChannelError(f"Invalid queue name: {queue!r}")
        return self.root / queue

    def _new_queue(self, queue: str, **_: Any) -> None:
        self._folder(queue).mkdir(parents=True, exist_ok=True)
        (self.root / _WRITING).mkdir(exist_ok=True)

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return self._folder(queue).is_dir()

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        self._new_queue(queue)
        half_written = self.root / _WRITING / name
        half_written.write_text(dumps(message))
        half_written.replace(self._folder(queue) / name)

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 - kombu's signature
        for name in self._names(queue):
            path = self._folder(queue) / name
            try:
                data = path.read_bytes()
                path.unlink()  # the claim: it fails in every process but one
            except OSError:
                continue
            try:
                return loads(data.decode())
            except ValueError:  # torn by a power cut; the database rings again
                continue
        raise Empty

    def _names(self, queue: str) -> list[str]:
        try:
            return sorted(path.name for path in self._folder(queue).iterdir())
        except FileNotFoundError:
            return []

    def _size(self, queue: str) -> int:
        return len(self._names(queue))

    def _purge(self, queue: str) -> int:
        names = self._names(queue)
        for name in names:
            (self._folder(queue) / name).unlink(missing_ok=True)
        return len(names)

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        self._purge(queue)


class Transport(virtual.Transport):
    """Direct exchanges only: no fan-out, hence no remote control, gossip or mingle."""

    Channel = Channel
    default_port = 0
    polling_interval = 0.1
    driver_type = driver_name = SCHEME
    implements = virtual.Transport.implements.extend(
        asynchronous=False, exchange_type=frozenset(["direct"]), heartbeats=False
    )

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        # Celery looks at SIGTERM only between calls: return often.
        super().drain_events(connection, timeout=min(timeout, 0.3) if timeout else timeout, **kwargs)

    def driver_version(self) -> str:
        return "1"
