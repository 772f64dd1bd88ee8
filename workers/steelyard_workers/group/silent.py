"""The session of a rank that computes and says nothing: it fetches what the first fetches, and reports none of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from steelyard_contracts.jobs import Claim, EvaluationReport, LineageReport
from steelyard_workers.orders import JobLeftError
from steelyard_workers.session import JobSession


class SilentSession(JobSession):
    """Reads as a `JobSession` does. What that one reports and commits for all, this one leaves alone."""

    def __init__(self, claim: Claim, url: str, folder: Path, rank: int) -> None:
        super().__init__(claim, url, folder)
        # The first rank clears its own folder as it begins.
        self.scratch = self.scratch.with_name(f"{self.scratch.name}-rank-{rank}")

    def __enter__(self) -> Self:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def log(self, text: str) -> None: ...

    def metric(self, name: str, *, step: int, value: float) -> None: ...

    def progress(self, share: float, message: str) -> None: ...

    def sample(self, *_: Any, **__: Any) -> None: ...

    def evaluation(self, report: EvaluationReport) -> None: ...

    def lineage(self, report: LineageReport) -> None: ...

    def save_checkpoint(self, path: Path, step: int) -> None:  # noqa: ARG002 - the first rank saves it
        """Raises: JobLeftError, when the ranks were told to leave."""
        if self.orders.leave:
            raise JobLeftError

    def commit(self, *_: Any, **__: Any) -> str:
        """The first rank's is the version."""
        return ""

    def finish(self, result: dict[str, Any]) -> None: ...

    def fail(self, error: str, *, retryable: bool) -> None: ...
