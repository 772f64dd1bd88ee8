r"""Jobs as they travel between the platform, the SDK and the workers.

    queued --claim--> running --finish--> succeeded | failed
      |                 |  \--lease ends--> queued again, or lost when its attempts are used up
      \--cancel---------\--cancel--> cancelled

A job's `spec` says what to do, never how to reach anything: a worker that has claimed the job gets a token
for exactly the repositories that the spec names.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        return self not in {JobState.QUEUED, JobState.RUNNING}


class WireModel(BaseModel):
    """An unknown field is a mistake worth hearing about."""

    model_config = ConfigDict(extra="forbid")


class Architecture(WireModel):
    """A `transformers` ResNet, small enough for a CPU. Depths and widths are per stage."""

    family: Literal["resnet"] = "resnet"
    embedding_size: int = Field(16, ge=4, le=256)
    hidden_sizes: list[int] = Field(default_factory=lambda: [16, 32, 64], min_length=1, max_length=5)
    depths: list[int] = Field(default_factory=lambda: [1, 1, 1], min_length=1, max_length=5)
    layer_type: Literal["basic", "bottleneck"] = "basic"

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        if len(self.hidden_sizes) != len(self.depths):
            raise ValueError("hidden_sizes and depths must have one number for each stage")
        return self


class TrainSpec(WireModel):
    """Train an image classifier, from scratch or from `base`, and commit it to `output`.

    With `base`, tensors are matched by name and shape, the head is replaced when the classes differ, and
    `freeze="backbone"` leaves every tensor outside the head bit-identical.
    """

    kind: Literal["train"] = "train"
    dataset: str = Field(description="A dataset reference, e.g. team/digits@v1.")
    output: str = Field(description="The model repository that receives the version, e.g. team/reader.")
    branch: str = Field("main", description="The branch to commit to; a new one starts empty.")
    base: str | None = Field(None, description="A model reference to start from; none trains from scratch.")
    architecture: Architecture | None = Field(None, description="For training from scratch; a base brings its own.")
    freeze: Literal["none", "backbone"] = "none"
    unfrozen_stages: int = Field(0, ge=0, le=5, description="Last stages of a frozen backbone that train all the same.")
    image_size: int = Field(32, ge=8, le=512)
    epochs: int = Field(10, ge=1, le=10_000)
    batch_size: int = Field(64, ge=2, le=4096)
    learning_rate: float = Field(3e-3, gt=0, le=1)
    weight_decay: float = Field(0.05, ge=0, le=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    augment: bool = True
    seed: int = Field(0, ge=0, le=2**31 - 1)
    checkpoint_every: int = Field(1, ge=1, description="Epochs between checkpoints.")


class EvaluateSpec(WireModel):
    """Measure a version's accuracy on a dataset's validation split, in the runtime its files are for."""

    kind: Literal["evaluate"] = "evaluate"
    model: str
    dataset: str


class VariantKind(StrEnum):
    """What an optimisation makes of a version. Each is a version on a side branch of its own."""

    ONNX_FP32 = "onnx-fp32"
    ONNX_FP16 = "onnx-fp16"
    ONNX_INT8 = "onnx-int8"


class OptimiseSpec(WireModel):
    """Export and shrink a version; int8 is static, calibrated on the dataset's training split."""

    kind: Literal["optimise"] = "optimise"
    model: str
    dataset: str
    variants: list[VariantKind] = Field(default_factory=lambda: list(VariantKind), min_length=1)
    max_accuracy_drop: float = Field(0.01, ge=0, le=1, description="A variant that loses more is refused.")


class InspectSpec(WireModel):
    """Look into the version's files: tensors, statistics, what is wrong. The platform asks for it of its own accord."""

    kind: Literal["inspect"] = "inspect"
    model: str


class ConvertSpec(WireModel):
    """Write what torch pickled as safetensors, in a process without network; the version stands on a side branch."""

    kind: Literal["convert"] = "convert"
    model: str
    path: str | None = Field(None, max_length=1024, description="One file; all that torch saved when none is named.")


class CompareSpec(WireModel):
    """Measure how far the tensors that differ between two versions have moved. The platform asks for it itself."""

    kind: Literal["compare"] = "compare"
    left: str
    right: str


JobSpec = Annotated[
    TrainSpec | EvaluateSpec | OptimiseSpec | InspectSpec | ConvertSpec | CompareSpec, Field(discriminator="kind")
]


class JobRequest(WireModel):
    spec: JobSpec


class JobView(BaseModel):
    """A job as its page, the API and the SDK show it."""

    id: UUID
    kind: str
    state: JobState
    team: str
    spec: JobSpec
    attempt: int
    progress: float = Field(ge=0, le=1)
    message: str
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    result: dict[str, Any]
    error: str | None


class CheckpointView(BaseModel):
    """A saved training state, served to the holder of the job's token."""

    step: int
    size: int
    sha256: str


class ClaimRequest(WireModel):
    worker: str = Field(max_length=200, description="Who claims: host and process, for people to read.")


class Claim(BaseModel):
    """What a worker holds from claim to finish. The token opens this job's repositories and nothing else."""

    id: UUID
    attempt: int
    spec: JobSpec
    token: str
    lease_seconds: int
    heartbeat_seconds: float
    checkpoint: CheckpointView | None
    # Versions that an earlier attempt already committed, so that no attempt commits twice.
    committed: list[CommittedVersion]


class CommittedVersion(BaseModel):
    repository: str
    version: str
    branch: str


class Heartbeat(WireModel):
    progress: float | None = Field(None, ge=0, le=1)
    message: str | None = Field(None, max_length=500)


class HeartbeatAnswer(BaseModel):
    cancel: bool
    lease_seconds: int


class MetricPoint(WireModel):
    """One value of one series at one step. Sending it twice is the same as once."""

    name: str = Field(max_length=100, pattern=r"^[A-Za-z0-9_./-]+$")
    step: int = Field(ge=0, lt=2**62)
    value: float


class MetricBatch(WireModel):
    points: list[MetricPoint] = Field(max_length=10_000)


class LogLine(WireModel):
    """One line of a job's output, numbered by its writer within the attempt, so that sending twice is once."""

    number: int = Field(ge=0)
    text: str = Field(max_length=8_000)


class LogBatch(WireModel):
    lines: list[LogLine] = Field(max_length=2_000)


class CheckpointOffer(WireModel):
    step: int = Field(ge=0)
    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class UploadSlot(BaseModel):
    url: str


class EvaluationReport(WireModel):
    """What was measured of `model` on `dataset`. `environment` says on what: runtime, versions, instruction set."""

    model: str
    dataset: str
    split: str = "validation"
    runtime: str = Field(max_length=60)
    metrics: dict[str, float]
    environment: dict[str, str] = Field(default_factory=dict)


class LineageReport(WireModel):
    """An edge that the job knows: `target` was made from `source`."""

    relation: Literal[
        "trained-on", "fine-tuned-from", "merged-from", "pruned-from", "exported-from", "quantized-from", "evaluated-on"
    ]
    source: str
    target: str


class Finish(WireModel):
    state: Literal[JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
    result: dict[str, Any] = Field(default_factory=dict)
    error: str | None = Field(None, max_length=4_000)
    # Failed for a cause that may pass (a lost connection, a full disk): another attempt is worth it.
    retryable: bool = False
    # The worker was told to stop and gives the job back: the attempt does not count.
    released: bool = False


Claim.model_rebuild()
