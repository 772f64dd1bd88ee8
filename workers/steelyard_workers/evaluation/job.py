"""The evaluation job, top to bottom: a version and a split are fetched, run in batches, measured and reported."""

from __future__ import annotations

from typing import Any

from steelyard_contracts.jobs import EvaluateSpec, EvaluationReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.tasks import Task
from steelyard_workers.evaluation.classifiers import evaluate_classifier
from steelyard_workers.evaluation.detectors import evaluate_detector
from steelyard_workers.evaluation.networks_to_run import OnnxRunner, Runner, open_runner
from steelyard_workers.evaluation.outcome import Outcome
from steelyard_workers.evaluation.segmenters import evaluate_segmenter
from steelyard_workers.session import JobSession


def evaluate(session: JobSession, spec: EvaluateSpec, *, threads: int) -> dict[str, Any]:
    """Returns the job's result: the runtime and the headline figures."""
    session.progress(0.05, "fetching the model and the dataset")
    model = session.fetch(spec.model, RepositoryKind.MODEL)
    dataset = session.fetch(spec.dataset, RepositoryKind.DATASET)
    session.progress(0.2, "reading the pictures")
    runner = open_runner(model, threads=threads)
    match runner.how.task:
        case Task.CLASSIFICATION:
            outcome = evaluate_classifier(session, spec, runner, dataset)
        case Task.DETECTION:
            outcome = evaluate_detector(session, spec, runner, dataset)
        case Task.SEGMENTATION:
            outcome = evaluate_segmenter(session, spec, runner, dataset)
    metrics = {**outcome.findings.metrics, **_speed(runner, outcome)}
    session.log(f"{spec.model} on {spec.dataset}, {spec.split}, in {runner.name}: {metrics}")
    session.evaluation(
        EvaluationReport(
            model=spec.model,
            dataset=spec.dataset,
            split=spec.split,
            runtime=runner.name,
            task=runner.how.task,
            pictures=outcome.pictures,
            metrics=metrics,
            intervals=outcome.findings.intervals,
            environment=runner.environment(),
            measures=outcome.findings.measures,
            replicates=outcome.findings.replicates,
            samples=outcome.samples,
        )
    )
    return {"runtime": runner.name, **metrics}


def _speed(runner: Runner, outcome: Outcome) -> dict[str, float]:
    """Of a file that devices run: how long one picture takes, and its size."""
    if not isinstance(runner, OnnxRunner):
        return {}
    from steelyard_workers.runtime import latencies

    return {**latencies(runner.session, outcome.one_picture), "bytes": float(runner.path.stat().st_size)}
