"""ONNX Runtime as the devices use it: one file, one thread, measured the same way every time."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from steelyard_workers.images import ImageFolder

NAME = "onnxruntime-cpu"
_BATCH = 256
_WARM_UP, _RUNS = 20, 200


@dataclass(frozen=True, slots=True)
class Measured:
    """Accuracy is a share; latencies are milliseconds for one picture."""

    accuracy: float
    latency_ms_p50: float
    latency_ms_p95: float
    bytes: int

    def metrics(self) -> dict[str, float]:
        return {
            "accuracy": round(self.accuracy, 6),
            "latency_ms_p50": round(self.latency_ms_p50, 4),
            "latency_ms_p95": round(self.latency_ms_p95, 4),
            "bytes": float(self.bytes),
        }


def open_session(path: Path, *, threads: int = 1) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def logits_of(session: Any, pictures: Any) -> Any:
    """(B, classes) for (B, C, H, W) of float32."""
    return session.run(None, {session.get_inputs()[0].name: pictures})[0]


def measure(path: Path, data: ImageFolder) -> Measured:
    """What the file does, in the runtime that will run it."""
    session = open_session(path)
    right = 0
    for pictures, targets in data.batches(_BATCH):
        right += int((logits_of(session, pictures.numpy()).argmax(1) == targets.numpy()).sum())
    times = latencies(session, next(iter(data.batches(1)))[0].numpy())
    return Measured(accuracy=right / len(data), bytes=path.stat().st_size, **times)


def latencies(session: Any, picture: Any) -> dict[str, float]:
    """Milliseconds for one picture, (1, C, H, W) of float32: the middle run, and the 95th of a hundred."""
    times = [_milliseconds(session, picture) for _ in range(_WARM_UP + _RUNS)][_WARM_UP:]
    return {
        "latency_ms_p50": round(statistics.median(times), 4),
        "latency_ms_p95": round(float(np.percentile(times, 95)), 4),
    }


def _milliseconds(session: Any, picture: Any) -> float:
    started = time.perf_counter()
    logits_of(session, picture)
    return (time.perf_counter() - started) * 1000
