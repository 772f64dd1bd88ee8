"""The parent of a job: claims it, renews its lease, and ends the child that does the work.

The child is a process of its own, so that an out-of-memory kill or a crash in native code takes the job down
and not the worker. It gets the claim, with the job's token, through a pipe; nothing secret stands in its environment
or its command line.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from multiprocessing.process import BaseProcess
from uuid import UUID, uuid4

from celery.worker import state as celery_state

from steelyard.transport import Transport
from steelyard_contracts.errors import AuthenticationError, ConflictError, LeaseLostError, SteelyardError
from steelyard_contracts.jobs import Claim, ClaimRequest, Finish, Heartbeat, HeartbeatAnswer, JobState
from steelyard_workers.deaths import witness
from steelyard_workers.nursery import start_process, warm_up
from steelyard_workers.orders import LEFT
from steelyard_workers.run_job import run_job
from steelyard_workers.session import scratch_folder
from steelyard_workers.settings import WorkerSettings

_log = logging.getLogger(__name__)
_LOOK_EVERY = 0.25
_CANCEL_SECONDS = 10.0
_FINISH_SECONDS = 5.0


def supervise(job_id: UUID, settings: WorkerSettings) -> None:
    """From claim to finish. Returns quietly when the job is not to be had."""
    warm_up()
    claim = _claim(job_id, settings)
    if claim is None:
        return
    # A connection that died without a word is noticed while there is lease left.
    timeout = max(claim.heartbeat_seconds, _FINISH_SECONDS)
    transport = Transport(settings.url, claim.token, patience=claim.lease_seconds, timeout=timeout)
    child = _start_child(claim, settings)
    try:
        ending = _Watch(child, claim, transport, settings).until_the_end()
        if ending is not None:
            with contextlib.suppress(LeaseLostError, AuthenticationError):
                transport.patience = _FINISH_SECONDS if ending.released else transport.patience
                transport.call("POST", f"/api/v1/jobs/{claim.id}/finish", body=ending)
    finally:
        _kill(child)
        transport.close()
        shutil.rmtree(scratch_folder(settings.folder, claim), ignore_errors=True)


def _claim(job_id: UUID, settings: WorkerSettings) -> Claim | None:
    transport = Transport(settings.url, settings.token)
    try:
        body = ClaimRequest(worker=settings.name, worker_id=settings.worker_id, key=uuid4())
        return transport.post(Claim, f"/api/v1/jobs/{job_id}/claim", body, repeatable=True)
    except ConflictError:
        return None  # rung twice, or cancelled meanwhile
    except SteelyardError as error:
        _log.warning("could not claim job %s: %s", job_id, error)
        return None
    finally:
        transport.close()


def _start_child(claim: Claim, settings: WorkerSettings) -> BaseProcess:
    message = {"url": settings.url, "folder": str(settings.folder), "threads": settings.threads}
    return start_process(run_job, {**message, "claim": claim.model_dump(mode="json")})


class _Watch:
    """A child while it lives: looked at, spoken for, and ended."""

    def __init__(self, child: BaseProcess, claim: Claim, transport: Transport, settings: WorkerSettings) -> None:
        self._child, self._claim, self._transport = child, claim, transport
        self._grace = settings.grace_seconds
        self._beat_at = 0.0
        self._witness = witness(child.pid or 0)

    def until_the_end(self) -> Finish | None:
        """How to finish the job; None when the child has done so, or nobody may."""
        while self._child.exitcode is None:
            if _is_stopping():
                self._end(self._grace)
                return Finish(state=JobState.FAILED, error="The worker was told to stop.", released=True)
            match self._beat_if_due():
                case "cancel":
                    self._end(_CANCEL_SECONDS)
                    return Finish(state=JobState.CANCELLED)
                case "lost":
                    _kill(self._child)
                    return None
                case "go on":
                    time.sleep(_LOOK_EVERY)
        return self._after_death(self._child.exitcode)

    def _after_death(self, status: int) -> Finish | None:
        if status == 0:
            return None
        if status == LEFT:
            return Finish(state=JobState.FAILED, error="The job's process was told to leave.", released=True)
        return Finish(state=JobState.FAILED, error=self._witness.cause(status), retryable=True)

    def _end(self, seconds: float) -> None:
        """Lets the child save what it can; meanwhile, the lease goes on."""
        self._child.terminate()
        deadline = time.monotonic() + seconds
        while self._child.exitcode is None and time.monotonic() < deadline and self._beat_if_due() != "lost":
            time.sleep(_LOOK_EVERY)
        _kill(self._child)

    def _beat_if_due(self) -> str:
        self._witness.look()
        if time.monotonic() < self._beat_at:
            return "go on"
        self._beat_at = time.monotonic() + self._claim.heartbeat_seconds
        return _beat(self._claim, self._transport)


def _is_stopping() -> bool:
    """Whether Celery was told to stop: None until then, an exit status afterwards."""
    return (
        getattr(celery_state, "should_stop", None) is not None
        or getattr(celery_state, "should_terminate", None) is not None
    )


def _beat(claim: Claim, transport: Transport) -> str:
    try:
        answer = transport.post(HeartbeatAnswer, f"/api/v1/jobs/{claim.id}/heartbeat", Heartbeat(), repeatable=False)
    except (LeaseLostError, AuthenticationError):
        return "lost"
    except SteelyardError as error:
        _log.warning("heartbeat of job %s failed: %s", claim.id, error)
        return "go on"  # the lease outlives a few lost heartbeats
    return "cancel" if answer.cancel else "go on"


def _kill(child: BaseProcess) -> None:
    child.kill()
    child.join()
