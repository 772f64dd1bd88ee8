"""The child that does one job: `python -m steelyard_workers.run_job`, with the claim on standard input."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from steelyard_contracts.errors import AuthenticationError, LeaseLostError, SteelyardError, UnavailableError
from steelyard_contracts.jobs import Claim, CompareSpec, ConvertSpec, EvaluateSpec, InspectSpec, OptimiseSpec, TrainSpec
from steelyard_workers.session import JobSession

_OUT_OF_SPACE = 28


def main() -> None:
    message = json.load(sys.stdin)
    claim = Claim.model_validate(message["claim"])
    with JobSession(claim, message["url"], Path(message["folder"])) as session:
        try:
            _do(session, threads=message["threads"])
        except (LeaseLostError, AuthenticationError):
            return  # the job goes on elsewhere, or was ended; there is nobody to tell
        except Exception as error:  # noqa: BLE001 - the border: whatever a recipe raises ends the job with a sentence
            session.log(traceback.format_exc())
            session.fail(_sentence(error), retryable=_may_pass(error))


def _do(session: JobSession, *, threads: int) -> None:
    """Imports only what the job needs: torch alone takes seconds."""
    match session.claim.spec:
        case TrainSpec() as spec:
            from steelyard_workers.recipes.classification import train

            session.finish(train(session, spec, threads=threads))
        case EvaluateSpec() as spec:
            from steelyard_workers.evaluate import evaluate

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
        case CompareSpec() as spec:
            from steelyard_workers.comparison.job import compare

            session.finish(compare(session, spec))


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, SteelyardError) else f"{type(error).__name__}: {error}"


def _may_pass(error: Exception) -> bool:
    """Whether another attempt could go better: a lost connection or a full disk may pass, wrong data does not."""
    return isinstance(error, UnavailableError | ConnectionError | TimeoutError) or (
        isinstance(error, OSError) and error.errno == _OUT_OF_SPACE
    )


if __name__ == "__main__":
    main()
