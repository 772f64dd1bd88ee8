"""Evaluation jobs: a version's measures on a dataset's validation split, in the runtime its files are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steelyard_contracts.errors import DatasetUnusableError, InvalidInputError
from steelyard_contracts.jobs import EvaluateSpec, EvaluationReport
from steelyard_contracts.manifests import MODEL_FILE
from steelyard_contracts.refs import RepositoryKind
from steelyard_workers import images
from steelyard_workers.images import ImageFolder
from steelyard_workers.session import JobSession, environment_of


def evaluate(session: JobSession, spec: EvaluateSpec, *, threads: int) -> dict[str, Any]:
    """Returns the job's result: the measures."""
    session.progress(0.05, "fetching the model and the dataset")
    model = session.fetch(spec.model, RepositoryKind.MODEL)
    dataset = session.fetch(spec.dataset, RepositoryKind.DATASET)
    session.progress(0.4, "measuring")
    runtime, metrics, environment = _measure(model, dataset, threads=threads)
    session.log(f"{spec.model} on {spec.dataset} in {runtime}: {metrics}")
    session.evaluation(
        EvaluationReport(
            model=spec.model, dataset=spec.dataset, runtime=runtime, metrics=metrics, environment=environment
        )
    )
    return {"runtime": runtime, **metrics}


def _measure(model: Path, dataset: Path, *, threads: int) -> tuple[str, dict[str, float], dict[str, str]]:
    """(runtime, metrics, environment)."""
    import torch

    from steelyard_workers import networks, runtime
    from steelyard_workers.recipes.classification import measure

    if not (model / "config.json").exists():
        raise InvalidInputError("The version has no config.json; it is no classifier that can be measured here.")
    torch.set_num_threads(threads)
    is_onnx = (model / MODEL_FILE).exists()
    labels, channels = networks.described(model)
    data = validation_split(dataset, labels=labels, channels=channels, size=networks.image_size_of(model))
    if is_onnx:
        import onnxruntime

        found = runtime.measure(model / MODEL_FILE, data).metrics()
        return runtime.NAME, found, environment_of(onnxruntime=onnxruntime.__version__)
    loss, accuracy = measure(networks.load(model), data)
    metrics = {"accuracy": round(accuracy, 6), "loss": round(loss, 6)}
    return "torch-cpu", metrics, environment_of(torch=torch.__version__)


def validation_split(dataset: Path, *, labels: list[str], channels: int, size: int) -> ImageFolder:
    """Raises: DatasetUnusableError when the dataset has labels that the model does not know."""
    unknown = set(images.labels_of(dataset / "validation")) - set(labels)
    if unknown:
        raise DatasetUnusableError(
            f"The dataset has labels that this model does not know: {', '.join(sorted(unknown))}. "
            f"It knows: {', '.join(labels)}."
        )
    return ImageFolder(dataset / "validation", size=size, channels=channels, labels=labels)
