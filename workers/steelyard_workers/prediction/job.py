"""The prediction job: a file is found or made once, and each picture is shown to it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from steelyard_contracts.jobs import PredictSpec
from steelyard_contracts.manifests import MODEL_FILE
from steelyard_contracts.prediction import PredictionAnswer
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_workers.evaluation.networks_to_run import OnnxRunner
from steelyard_workers.prediction.answers import answer_of
from steelyard_workers.prediction.pictures import open_picture
from steelyard_workers.preprocessing import Preprocessing, describe
from steelyard_workers.session import JobSession


def predict(session: JobSession, spec: PredictSpec, *, threads: int) -> dict[str, Any]:
    """Returns the answer. Raises: InvalidInputError for a picture or a network that cannot be used."""
    ref = spec.runs or spec.model
    folder = session.fetch(ref, RepositoryKind.MODEL)
    how = describe(folder)
    path = folder / MODEL_FILE if (folder / MODEL_FILE).exists() else _exported(session, ref, folder, how)
    runner = OnnxRunner.open(path, how, threads=threads)
    found = []
    for number in range(spec.pictures):
        picture = open_picture(session.uploaded_picture(number), how, number=number)
        started = time.perf_counter()
        outputs = runner.run(how.normalised(picture.pixels))
        latency = (time.perf_counter() - started) * 1000
        found.append(answer_of(outputs, picture, how, spec, latency_ms=round(latency, 3)))
    file = MODEL_FILE if path.parent == folder else "model.safetensors, exported to ONNX by the worker"
    answer = PredictionAnswer(task=how.task, runtime=runner.name, version=ref, file=file, pictures=found)
    return answer.model_dump(mode="json")


def _exported(session: JobSession, ref: str, folder: Path, how: Preprocessing) -> Path:
    """Made once for each version, and kept; whole or not at all."""
    from steelyard_workers.prediction.export import export

    commit = session.version(parse_ref(ref)).commit
    path = session.made / f"{commit}.onnx"
    if not path.exists():
        session.progress(0.2, "exporting the network once")
        path.parent.mkdir(parents=True, exist_ok=True)
        export(folder, session.scratch / "export.onnx", how)
        os.replace(session.scratch / "export.onnx", path)  # noqa: PTH105 - one step, on one file system
    return path
