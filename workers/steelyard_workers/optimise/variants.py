r"""The optimisation job: makes the variants of a version, measures each in its runtime, and commits those that pass.

version --> onnx-fp32 --> onnx-fp16
                     \--> onnx-int8 (calibrated on the training split)
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import EvaluationReport, LineageReport, OptimiseSpec, VariantKind
from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, MODEL_FILE, KnownAnswer, KnownAnswers
from steelyard_contracts.refs import RepositoryKind
from steelyard_workers import networks, runtime
from steelyard_workers.cards import variant_card
from steelyard_workers.datasets.files import class_folder
from steelyard_workers.evaluation.classifiers import classes_split
from steelyard_workers.images import ImageFolder, normalise
from steelyard_workers.optimise.onnx_files import convert_float16, export_float32, quantise_int8
from steelyard_workers.preprocessing import MEAN, STD
from steelyard_workers.recipes.classification import measure
from steelyard_workers.session import JobSession, environment_of

_ANSWERS = 16


@dataclass(frozen=True, slots=True)
class _Source:
    """The version that variants are made from."""

    folder: Path
    network: Any
    labels: list[str]
    train: ImageFolder
    validation: ImageFolder
    accuracy: float


def optimise(session: JobSession, spec: OptimiseSpec, *, threads: int) -> dict[str, Any]:
    """Returns the job's result: for each variant its version and measures, or why it was refused."""
    torch.set_num_threads(threads)
    source = _load(session, spec)
    files = _make_files(session, spec, source)
    results: dict[str, Any] = {"source_accuracy": round(source.accuracy, 6)}
    for position, (variant, path) in enumerate(files.items()):
        session.progress(0.5 + 0.5 * position / len(files), f"measuring {variant}")
        measured = runtime.measure(path, source.validation)
        drop = source.accuracy - measured.accuracy
        outcome = measured.metrics() | {"accuracy_drop": round(drop, 6)}
        if drop > spec.max_accuracy_drop + 1e-9:
            session.log(f"{variant} refused: it loses {drop:.4f} accuracy; {spec.max_accuracy_drop:g} is allowed")
            results[variant] = {
                "refused": f"loses {drop:.4f} accuracy, more than {spec.max_accuracy_drop:g}",
                **outcome,
            }
            continue
        version = _commit(session, spec, source, variant, path, measured)
        session.log(f"{variant} is {version}: {outcome}")
        results[variant] = {"version": version, **outcome}
    return results


def _load(session: JobSession, spec: OptimiseSpec) -> _Source:
    session.progress(0.05, "fetching the model and the dataset")
    folder = session.fetch(spec.model, RepositoryKind.MODEL)
    root = session.fetch(spec.dataset, RepositoryKind.DATASET)
    if not (folder / "model.safetensors").exists():
        raise InvalidInputError(f"{spec.model} has no model.safetensors; variants are made from trained weights.")
    network, size = networks.load(folder), networks.image_size_of(folder)
    labels, channels = networks.labels_of(network), network.config.num_channels
    validation = classes_split(root, "validation", labels=labels, channels=channels, size=size)
    calibration = ImageFolder(class_folder(root, "train"), size=size, channels=channels, labels=labels)
    _, accuracy = measure(network, validation)
    session.log(f"{spec.model} in torch: accuracy {accuracy:.4f}")
    return _Source(folder, network, labels, calibration, validation, accuracy)


def _make_files(session: JobSession, spec: OptimiseSpec, source: _Source) -> dict[VariantKind, Path]:
    """The wanted files, in the order they were asked for. Float32 is always made: the others come from it."""
    session.progress(0.2, "exporting")
    paths = {variant: session.scratch / f"{variant}.onnx" for variant in VariantKind}
    size, channels = source.validation.size, source.validation.channels
    export_float32(source.network, paths[VariantKind.ONNX_FP32], channels=channels, size=size)
    for variant in spec.variants:
        session.progress(0.35, f"making {variant}")
        match variant:
            case VariantKind.ONNX_FP32:
                pass
            case VariantKind.ONNX_FP16:
                convert_float16(paths[VariantKind.ONNX_FP32], paths[variant])
            case VariantKind.ONNX_INT8:
                quantise_int8(paths[VariantKind.ONNX_FP32], paths[variant], source.train)
    return {variant: paths[variant] for variant in spec.variants}


def _commit(
    session: JobSession,
    spec: OptimiseSpec,
    source: _Source,
    variant: VariantKind,
    path: Path,
    measured: runtime.Measured,
) -> str:
    """A version on the variant's side branch, with its answers, measures and lineage."""
    repository, _, label = spec.model.partition("@")
    folder = session.scratch / f"variant-{variant}"
    folder.mkdir()
    shutil.copyfile(path, folder / MODEL_FILE)
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copyfile(source.folder / name, folder / name)
    answers = known_answers(path, source.validation, source.labels)
    (folder / KNOWN_ANSWERS_FILE).write_text(answers.model_dump_json())
    table = [(name, f"{value:g}") for name, value in measured.metrics().items()]
    (folder / "README.md").write_text(
        variant_card(model=spec.model, variant=variant, dataset=spec.dataset, table=table)
    )
    title = f"{variant} of {label}: accuracy {measured.accuracy:.4f}, {measured.bytes / 1000:.0f} kB"
    version = session.commit(folder, repository, branch=f"{label}-{variant}", start=label, title=title)
    made = f"{repository}@{version}"
    relation = "exported-from" if variant is VariantKind.ONNX_FP32 else "quantized-from"
    session.lineage(LineageReport(relation=relation, source=spec.model, target=made))
    session.evaluation(
        EvaluationReport(
            model=made,
            dataset=spec.dataset,
            runtime=runtime.NAME,
            metrics=measured.metrics(),
            environment=environment_of(onnxruntime=onnxruntime.__version__, threads="1"),
        )
    )
    return version


def known_answers(path: Path, data: ImageFolder, labels: list[str]) -> KnownAnswers:
    """What this very file says to a few pictures, spread over the validation split."""
    session = runtime.open_session(path)
    indices = torch.linspace(0, len(data) - 1, min(_ANSWERS, len(data))).long()
    pixels = data.pixels(indices)
    logits = runtime.logits_of(session, normalise(pixels.float() / 255).numpy())
    answers = [
        KnownAnswer(
            pixels=picture.permute(1, 2, 0).tolist(),
            label=labels[int(row.argmax())],
            logits=[round(float(v), 6) for v in row],
        )
        for picture, row in zip(pixels, logits, strict=True)
    ]
    return KnownAnswers(image_size=data.size, mean=MEAN, std=STD, answers=answers)
