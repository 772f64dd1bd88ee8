"""What is known of the inside of a weight file, as it travels from the worker that read it to the pages that show it.

A file is known by its SHA-256, so that the same bytes are read once, in however many versions they lie.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from steelyard_contracts.wire import WireModel

# Of a file with more, the first by their place in its header are described, and a finding says so.
MOST_TENSORS = 50_000
MOST_FINDINGS = 1_000
# Of a pickle that names more, none are listed.
MOST_IMPORTS = 500
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
    imports: list[str] = Field(
        default_factory=list,
        max_length=MOST_IMPORTS,
        description="All that a pickle names, when it is about that alone.",
    )


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
    start: int | None = Field(None, ge=0, description="Where its bytes begin in the file, when they lie in one piece.")
    digest: str | None = None
    statistics: TensorStatistics | None = None


FileFormat = Literal[
    "safetensors", "torch", "onnx", "tflite", "gguf", "keras", "numpy", "pickle", "archive", "index", "unknown"
]


class FileReport(WireModel):
    """What a worker found in one file. `format` is told by the content, whatever the name says."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    format: FileFormat
    framework: str = Field("", max_length=60)
    parameters: int = Field(0, ge=0, lt=2**63, description="Values in all tensors, also in those not described.")
    metadata: dict[str, str] = Field(default_factory=dict)
    shards: list[str] = Field(default_factory=list, max_length=10_000, description="Of an index: the files it names.")
    tensors: list[TensorView] = Field(default_factory=list, max_length=MOST_TENSORS)
    findings: list[Finding] = Field(default_factory=list, max_length=MOST_FINDINGS)


class FileToInspect(BaseModel):
    """A file of the version an inspection is about, whose content nobody has looked into yet."""

    path: str
    sha256: str
    size: int


class InspectionState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class ModuleView(BaseModel):
    """What lies below one prefix of tensor names. `dtypes` counts parameters."""

    name: str
    tensors: int
    parameters: int
    size: int
    dtypes: dict[str, int]


class ModelView(BaseModel):
    """One model of a version: a file, or all the shards that an index names. `name` is the path of either."""

    name: str
    format: FileFormat
    framework: str
    files: list[str]
    tensors: int
    parameters: int
    size: int
    dtypes: dict[str, int]
    modules: list[ModuleView]
    metadata: dict[str, str]


class FindingView(Finding):
    """A finding, and the file it is about."""

    path: str


class InspectionView(BaseModel):
    """A version's weights: what its main model holds, every model, and everything that is wrong with any file."""

    state: InspectionState
    version: str
    files: int
    inspected: int
    format: FileFormat
    framework: str
    parameters: int
    dtypes: dict[str, int]
    modules: list[ModuleView]
    models: list[ModelView]
    findings: list[FindingView]


class TensorInFile(TensorView):
    """A tensor, and the file it is in."""

    path: str


class QuarantineState(StrEnum):
    """A found danger leads from none to quarantined; lifting and putting back lead between it and lifted."""

    NONE = "none"
    QUARANTINED = "quarantined"
    LIFTED = "lifted"


class LiftView(BaseModel):
    """A maintainer's word that a version may go out although files of it are dangerous. In force until it ends."""

    reason: str
    lifted_by: str
    lifted_at: datetime
    ended_by: str | None
    ended_reason: str | None
    ended_at: datetime | None


class QuarantineView(BaseModel):
    """Whether a version's files may be downloaded, what is dangerous in them, and every lift, newest first."""

    version: str
    state: QuarantineState
    findings: list[FindingView]
    history: list[LiftView]


class TensorPlace(BaseModel):
    """Where a tensor's bytes lie in a version, and what they are."""

    path: str
    start: int
    size: int
    digest: str


class TensorPair(BaseModel):
    """A tensor of two versions, of one kind and shape, whose bytes differ."""

    name: str
    dtype: str
    left: TensorPlace
    right: TensorPlace


class Measures(WireModel):
    """How far a tensor has moved. None: there is no such number, or it is not known."""

    relative_l2: float | None = Field(None, description="The norm of the difference, by the norm of the left.")
    cosine_similarity: float | None = None
    max_abs_change: float | None = None
    changed_share: float | None = Field(None, ge=0, le=1, description="Share of elements whose bits differ.")


class TensorChange(Measures):
    """The measures of two digests, which hold wherever the two meet again."""

    left: str = Field(pattern=r"^[0-9a-f]{64}$")
    right: str = Field(pattern=r"^[0-9a-f]{64}$")
    dtype: str = Field(max_length=40)


class TensorChangeBatch(WireModel):
    changes: list[TensorChange] = Field(max_length=2_000)


class ChangedTensor(Measures):
    name: str


class Difference(BaseModel):
    """A tensor that changed its shape or its kind of number: as it is written on either side."""

    name: str
    left: str
    right: str


class ModuleChange(BaseModel):
    """What became of the tensors below one prefix of names; `relative_l2` is the largest of those that changed."""

    name: str
    is_tensor: bool = Field(description="The name is a tensor's own, which lies beside the modules.")
    tensors: int
    unchanged: int
    changed: int
    added: int
    removed: int
    reshaped: int
    cast: int
    relative_l2: float | None = None

    @property
    def is_identical(self) -> bool:
        return self.unchanged == self.tensors

    @property
    def shown_name(self) -> str:
        return self.name if self.is_tensor else f"{self.name}.*"


class FileChanges(BaseModel):
    """Paths."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class TextChange(BaseModel):
    """A text file, such as the card, that differs, as a unified diff."""

    path: str
    diff: str


class CompareView(BaseModel):
    """What differs between two versions. While tensors are still measured, `pending`: their measures are None."""

    state: InspectionState
    left: str
    right: str
    summary: str
    changed: list[ChangedTensor]
    added: list[str]
    removed: list[str]
    reshaped: list[str]
    cast: list[str]
    unchanged_count: int
    differences: list[Difference] = Field(description="How the reshaped and the cast were written, and are.")
    modules: list[ModuleChange]
    files: FileChanges
    texts: list[TextChange]
