"""What a job's process is told while it works: stop and keep what there is, or leave.

*Stop* comes from people, over the platform's answers to heartbeats: the run ends at its next step, and succeeds.
*Leave* is SIGTERM, from a machine that goes away or a job that was cancelled: a loop that asks `should_save` makes a
last checkpoint and is gone; work that cannot be saved half-way ends at once.
"""

from __future__ import annotations

from types import FrameType

# The exit status of a process that left: the job goes on elsewhere, and the attempt does not count.
LEFT = 75


class JobLeftError(BaseException):
    """Not an `Exception`: no recipe means to catch it."""


class Orders:
    def __init__(self) -> None:
        self.stop = False
        self.leave = False
        # Whether whoever works asks `leave` between its steps, and so need not be torn from them.
        self.is_asked = False

    def on_terminate(self, _signal: int, _frame: FrameType | None) -> None:
        """For `signal.signal`. Raises: JobLeftError, in the middle of whatever cannot be saved."""
        self.leave = True
        if not self.is_asked:
            raise JobLeftError
