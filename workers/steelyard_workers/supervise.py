"""The parent of a job: claims it, renews its lease, and ends the child that does the work.

The child is a process of its own, so that an out-of-memory kill or a crash in native code takes the job down
and not the worker. It gets the claim, with the job's token, on its standard input; nothing secret stands in
its environment or its command line.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from uuid import UUID

from celery.worker import state as celery_state

from steelyard.transport import Transport
from steelyard_contracts.errors import AuthenticationError, ConflictError, LeaseLostError, SteelyardError
from steelyard_contracts.jobs import Claim, ClaimRequest, Finish, Heartbeat, HeartbeatAnswer, JobState
from steelyard_workers.session import scratch_folder
from steelyard_workers.settings import WorkerSettings

_log = logging.getLogger(__name__)
_LOOK_EVERY = 0.25
_GRACE_SECONDS = 10.0
_FINISH_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


def supervise(job_id: UUID, settings: WorkerSettings) -> None:
    """From claim to finish. Returns quietly when the job is not to be had."""
    claim = _claim(job_id, settings)
    if claim is None:
        return
    transport = Transport(settings.url, claim.token, patience=claim.lease_seconds)
    child = _start_child(claim, settings)
    try:
        ending = _watch(child, claim, transport)
        _end(child)
        if ending is not None:
            with contextlib.suppress(LeaseLostError, AuthenticationError):
                transport.patience = _FINISH_SECONDS if ending.released else transport.patience
                transport.call("POST", f"/api/v1/jobs/{claim.id}/finish", body=ending)
    finally:
        _end(child)
        transport.close()
        shutil.rmtree(scratch_folder(settings.folder, claim), ignore_errors=True)


def _claim(job_id: UUID, settings: WorkerSettings) -> Claim | None:
    transport = Transport(settings.url, settings.token)
    try:
        return transport.post(
            Claim, f"/api/v1/jobs/{job_id}/claim", ClaimRequest(worker=settings.name), repeatable=True
        )
    except ConflictError:
        return None  # rung twice, or cancelled meanwhile
    except SteelyardError as error:
        _log.warning("could not claim job %s: %s", job_id, error)
        return None
    finally:
        transport.close()


def _start_child(claim: Claim, settings: WorkerSettings) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-m", "steelyard_workers.run_job"],
        env={key: value for key, value in os.environ.items() if not key.startswith("STEELYARD_")},  # noqa: TID251
        stdin=subprocess.PIPE,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - it only asks the kernel for a signal
    )
    assert child.stdin is not None  # noqa: S101 - it was asked for
    message = {"url": settings.url, "folder": str(settings.folder), "threads": settings.threads}
    child.stdin.write(json.dumps({**message, "claim": claim.model_dump(mode="json")}).encode())
    child.stdin.close()
    return child


def _watch(child: subprocess.Popen[bytes], claim: Claim, transport: Transport) -> Finish | None:
    """Until the child ends. Returns how to finish the job, or None when the child has, or nobody may."""
    beat_at = 0.0
    while child.poll() is None:
        if _is_stopping():
            return Finish(state=JobState.FAILED, error="The worker was told to stop.", released=True)
        if time.monotonic() >= beat_at:
            beat_at = time.monotonic() + claim.heartbeat_seconds
            match _beat(claim, transport):
                case "cancel":
                    return Finish(state=JobState.CANCELLED)
                case "lost":
                    return None
                case "go on":
                    pass
        time.sleep(_LOOK_EVERY)
    if child.returncode == 0:
        return None
    return Finish(state=JobState.FAILED, error=_cause_of_death(child.returncode), retryable=True)


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


def _cause_of_death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "The job's process was killed, perhaps for want of memory."
    if status < 0:
        return f"The job's process died of {signal.Signals(-status).name}."
    return f"The job's process ended with status {status}; see the log."


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
