"""What a job sends while it goes on with its work: one thing after the other, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

# Of what waits to be sent; whoever gives more waits too.
_MOST_WAITING = 8


class Courier:
    """`give` returns at once; what went wrong on the way is raised by the next `give` or `wait`."""

    def __init__(self) -> None:
        self._tasks: queue.Queue[tuple[Callable[[], None], threading.Event]] = queue.Queue(_MOST_WAITING)
        self._fault: BaseException | None = None
        threading.Thread(target=self._run, name="courier", daemon=True).start()

    def give(self, task: Callable[[], None]) -> threading.Event:
        """Returns what is set once it was sent, or went wrong."""
        self._raise()
        done = threading.Event()
        self._tasks.put((task, done))
        return done

    def wait(self) -> None:
        """Until everything is sent."""
        self._tasks.join()
        self._raise()

    def _run(self) -> None:
        while True:
            task, done = self._tasks.get()
            try:
                task()
            except Exception as error:  # noqa: BLE001 - it is raised where somebody can act on it
                self._fault = error
            finally:
                self._tasks.task_done()
                done.set()

    def _raise(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
