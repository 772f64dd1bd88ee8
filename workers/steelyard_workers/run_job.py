"""What the child does that has one job: from the claim to its end."""

from __future__ import annotations

import errno
import signal
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from steelyard_contracts.errors import AuthenticationError, LeaseLostError, SteelyardError, UnavailableError
from steelyard_contracts.jobs import (
    Claim,
    CompareSpec,
    ConvertSpec,
    EvaluateSpec,
    InspectSpec,
    JoinSpec,
    OptimiseSpec,
    PredictSpec,
    UnpackSpec,
)
from steelyard_contracts.training import Task, TrainSpec
from steelyard_workers.libc import keep_freed_memory
from steelyard_workers.meters import Meters
from steelyard_workers.orders import LEFT, JobLeftError
from steelyard_workers.session import JobSession

_OUT_OF_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def run_job(message: dict[str, Any]) -> int:
    """Returns the exit status: 0 when the platform knows how the job ended, or that it goes on elsewhere.

    Args:
        message: `claim`, the platform's `url`, the worker's `folder`, and how many `threads` it may use.
    """
    claim = Claim.model_validate(message["claim"])
    if is_group(claim):
        from steelyard_workers.group.launch import run_group

        return run_group(message, claim)
    try:
        with JobSession(claim, message["url"], Path(message["folder"])) as session:
            signal.signal(signal.SIGTERM, session.orders.on_terminate)
            do_claim(session, threads=message["threads"])
    except JobLeftError:
        return LEFT
    return 0


def is_group(claim: Claim) -> bool:
    """Whether several processes, here or on other machines, do it together."""
    needs = claim.resources
    is_shared = isinstance(claim.spec, TrainSpec) and (needs.processes > 1 or needs.hosts > 1)
    return is_shared or isinstance(claim.spec, JoinSpec)


def do_claim(session: JobSession, *, threads: int, may_start_again: bool = False) -> None:
    """Does the job and says how it ended.

    Raises: what is not about the job itself, where `may_start_again` says that whoever watches will try once more.
    """
    keep_freed_memory()
    try:
        _do(session, threads=threads)
    except (LeaseLostError, AuthenticationError):
        return  # the job goes on elsewhere, or was ended; there is nobody to tell
    except Exception as error:  # the border: whatever a recipe raises ends the job with a sentence
        if may_start_again and not isinstance(error, SteelyardError):
            raise
        if not isinstance(error, SteelyardError):  # what has no sentence of its own
            session.log(traceback.format_exc())
        session.fail(_sentence(error), retryable=_may_pass(error))


def _do(session: JobSession, *, threads: int) -> None:
    """Imports only what the job needs: torch alone takes seconds."""
    match session.claim.spec:
        case TrainSpec() as spec:
            with Meters(session):
                session.finish(_recipe(spec.task).train(session, spec, threads=threads))
        case EvaluateSpec() as spec:
            from steelyard_workers.evaluation.job import evaluate

            session.finish(evaluate(session, spec, threads=threads))
        case OptimiseSpec() as spec:
            from steelyard_workers.optimise.variants import optimise

            session.finish(optimise(session, spec, threads=threads))
        case InspectSpec() as spec:
            from steelyard_workers.inspection.job import inspect

            session.finish(inspect(session, spec))
        case ConvertSpec() as spec:
            from steelyard_workers.convert.job import convert

            session.finish(convert(session, spec))
        case PredictSpec() as spec:
            from steelyard_workers.prediction.job import predict

            session.finish(predict(session, spec, threads=threads))
        case UnpackSpec() as spec:
            from steelyard_workers.unpacking.job import unpack

            session.finish(unpack(session, spec))
        case CompareSpec() as spec:
            from steelyard_workers.comparison.job import compare

            session.finish(compare(session, spec))


def _recipe(task: Task) -> Any:
    """The module of the task's recipe, imported only now."""
    match task:
        case Task.CLASSIFICATION:
            return import_module("steelyard_workers.recipes.classification")
        case Task.DETECTION:
            return import_module("steelyard_workers.recipes.detection")
        case Task.SEGMENTATION:
            return import_module("steelyard_workers.recipes.segmentation")


def _sentence(error: Exception) -> str:
    if isinstance(error, SteelyardError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _OUT_OF_SPACE:
        return f"The worker's disk is full ({error.filename or 'while writing'}); free some of it, or add a worker."
    if isinstance(error, MemoryError):
        return "The worker has no memory left; choose a smaller batch or image size, or a worker with more."
    return f"{type(error).__name__}: {error}"


def _may_pass(error: Exception) -> bool:
    """Whether another attempt could go better: a lost connection or a full disk may pass, wrong data does not."""
    return isinstance(error, UnavailableError | ConnectionError | TimeoutError | MemoryError) or (
        isinstance(error, OSError) and error.errno in _OUT_OF_SPACE
    )
