"""What is known of the inside of a weight file, as it travels from the worker that read it to the pages that show it.

A file is known by its SHA-256, so that the same bytes are read once, in however many versions they lie.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from steelyard_contracts.jobs import WireModel

MOST_TENSORS = 200_000
HISTOGRAM_BINS = 32


class Severity(StrEnum):
    """A danger quarantines every version that holds the file; a warning is only shown."""

    DANGER = "danger"
    WARNING = "warning"


class Finding(WireModel):
    """One thing that is wrong with a file, in a sentence for people."""

    severity: Severity
    code: str = Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)
    sentence: str = Field(max_length=1_000)
    tensor: str | None = None


class Histogram(WireModel):
    """How many finite values lie in each of `HISTOGRAM_BINS` equal steps from `low` to `high`."""

    low: float
    high: float
    counts: list[int] = Field(min_length=1, max_length=HISTOGRAM_BINS)


class TensorStatistics(WireModel):
    """Over the finite values; all None when there is none."""

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    zeros: float = Field(ge=0, le=1, description="Share of values that are exactly zero.")
    nan: int = 0
    inf: int = 0
    histogram: Histogram | None = None


class TensorView(WireModel):
    """A tensor of a file. `digest` is the SHA-256 of its bytes as they are stored, and None where none are."""

    name: str
    dtype: str = Field(description="As safetensors writes it: F32, BF16, I64, ...; other formats keep their own word.")
    shape: list[int]
    size: int = Field(ge=0, description="Bytes.")
    digest: str | None = None
    statistics: TensorStatistics | None = None


FileFormat = Literal["safetensors", "torch", "onnx", "tflite", "gguf", "keras", "numpy", "pickle", "archive", "unknown"]


class FileReport(WireModel):
    """What a worker found in one file. `format` is told by the content, whatever the name says."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    format: FileFormat
    framework: str = Field("", max_length=60)
    parameters: int = 0
    metadata: dict[str, str] = Field(default_factory=dict)
    tensors: list[TensorView] = Field(default_factory=list, max_length=MOST_TENSORS)
    findings: list[Finding] = Field(default_factory=list, max_length=1_000)
