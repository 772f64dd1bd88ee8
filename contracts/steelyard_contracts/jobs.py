r"""Jobs as they travel between the platform, the SDK and the workers.

    queued --claim--> claimed --begins--> running <--commits--> uploading
       ^ ^               |                   |                      |
       | |               +---------+---------+----------------------+
       | |                         |
       | +--gives it back, ---- its attempt ends --finish--> succeeded | failed | cancelled
       |    may pass, or           |
       |    went silent            +--silent once too often--> lost
       |
       +--resume-- failed | cancelled | lost          queued --cancel--> cancelled, --cannot be done any more--> failed

`JobState.may_become` is that drawing as a table, and every write asks it. While a job is claimed, running or uploading
(`is_held`), one attempt of one worker holds its lease; a lease that nobody renews ends.

A job's `spec` says what to do, never how to reach anything: a worker that has claimed the job gets a token
for exactly the repositories that the spec names. A run trains elsewhere and only reports: `tracking` has its states.
"""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, field_serializer

from steelyard_contracts.estimates import JobEstimate
from steelyard_contracts.evaluation import MOST_SAMPLES, Interval, Measures, Replicates, WorstSample
from steelyard_contracts.prediction import MOST_PICTURES, THRESHOLD, TOP
from steelyard_contracts.run_specs import RunFacts, RunSpec
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.wire import WireModel
from steelyard_contracts.workers import Resources


class JobState(StrEnum):
    QUEUED = "queued"
    CLAIMED = "claimed"
    RUNNING = "running"
    UPLOADING = "uploading"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether nothing happens any more by itself; only `resume` leads on from here."""
        return self in _ENDS

    @property
    def is_held(self) -> bool:
        """Whether an attempt holds the job's lease."""
        return self in _HELD

    @property
    def sources(self) -> tuple[JobState, ...]:
        """The states that may become this one, for conditional updates."""
        return tuple(state for state in JobState if state.may_become(self))

    def may_become(self, other: JobState) -> bool:
        return other in _TRANSITIONS[self]


_HELD = (JobState.CLAIMED, JobState.RUNNING, JobState.UPLOADING)
_ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST)
_ATTEMPT_ENDS = frozenset({JobState.QUEUED, *_ENDS})
_TRANSITIONS = {
    JobState.QUEUED: frozenset({JobState.CLAIMED, JobState.CANCELLED, JobState.FAILED}),
    JobState.CLAIMED: _ATTEMPT_ENDS | {JobState.RUNNING, JobState.UPLOADING},
    # A job that commits several versions goes back to its work in between.
    JobState.RUNNING: _ATTEMPT_ENDS | {JobState.UPLOADING},
    JobState.UPLOADING: _ATTEMPT_ENDS | {JobState.RUNNING},
    JobState.SUCCEEDED: frozenset[JobState](),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
    JobState.LOST: frozenset({JobState.QUEUED}),
}


class AttemptEnd(StrEnum):
    """How an attempt ended. What becomes of the job is another question: it may be queued again."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"  # the worker was told to stop, and gave the job back
    LOST = "lost"  # the worker went silent


class EvaluateSpec(WireModel):
    """Measure a version on a split of a dataset, in the runtime its files are for."""

    kind: Literal["evaluate"] = "evaluate"
    model: str
    dataset: str
    split: str = Field("validation", max_length=60, pattern=r"^[A-Za-z0-9_.-]+$")
    samples: int = Field(12, ge=0, le=MOST_SAMPLES, description="Pictures to keep that it did worst on.")


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
    again: bool = Field(default=False, description="Also what was read before, as after a scanner has learned more.")


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


class PredictSpec(WireModel):
    """Say what a version makes of pictures. The platform asks for it when pictures come; see `prediction`."""

    kind: Literal["predict"] = "predict"
    model: str
    runs: str | None = Field(None, description="The version whose file is run: an ONNX variant, where there is one.")
    upload: UUID = Field(description="Where the pictures lie until they were looked at.")
    pictures: int = Field(ge=1, le=MOST_PICTURES)
    top: int = Field(TOP, ge=1, le=100)
    threshold: float = Field(THRESHOLD, ge=0, le=1)


class UnpackSpec(WireModel):
    """Make an archive's files a version of a dataset's main branch. The platform asks for it when one has come."""

    kind: Literal["unpack"] = "unpack"
    dataset: str
    archive: UUID = Field(description="Where the archive lies until it was unpacked.")
    name: str = Field(max_length=255, description="Of the archive; its ending says what it is.")
    size: int = Field(ge=0)
    sha256: str
    keep: bool = Field(default=False, description="Files that are there already stay as they are.")


class Rendezvous(WireModel):
    """Where the machines of a group meet: the first one's address, as the others reach it."""

    address: str = Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9.:-]+$")
    port: int = Field(ge=1, le=65_535)


class JoinSpec(WireModel):
    """Be one more machine of a training that another one leads. The platform asks for it when that one waits."""

    kind: Literal["join"] = "join"
    train: TrainSpec
    leader: UUID = Field(description="The training's job, which reports, saves and commits for all.")
    node: int = Field(ge=1, description="Which of the machines; the leader is 0.")
    hosts: int = Field(ge=2)
    rendezvous: Rendezvous


JobSpec = Annotated[
    TrainSpec
    | EvaluateSpec
    | OptimiseSpec
    | InspectSpec
    | ConvertSpec
    | CompareSpec
    | PredictSpec
    | UnpackSpec
    | JoinSpec
    | RunSpec,
    Field(discriminator="kind"),
]


class JobRequest(WireModel):
    spec: JobSpec
    resources: Resources = Field(default_factory=Resources)


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
    # Told to end at its next step and keep its best state; `stopped_early` once it did.
    stop_requested: bool = False
    stopped_early: bool = False
    # A job that failed for a cause that may pass is not tried again before.
    not_before: datetime | None = None
    cloned_from: UUID | None = None
    resources: Resources = Field(default_factory=Resources)
    # Of a trial: the search that asked for it, and its number there.
    search: UUID | None = None
    trial: int | None = None
    # Until the end, at the pace so far; and what was expected when it was asked for.
    eta_seconds: float | None = None
    estimate: JobEstimate = Field(default_factory=JobEstimate)
    # Of a run, which trains elsewhere: see `tracking`.
    run: RunFacts | None = None


class AttemptView(BaseModel):
    """One try at a job. Its number tells its log lines from another's; it went on from a step, or began anew."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    ending: AttemptEnd | None
    why: str
    resumed_from: int | None


class CloneRequest(WireModel):
    """What a clone does otherwise: a JSON merge patch (RFC 7396) of the spec, as in `{"epochs": 20, "base": null}`."""

    changes: dict[str, Any] = Field(default_factory=dict)


class CheckpointView(BaseModel):
    """A saved training state, served to the holder of the job's token."""

    step: int
    size: int
    sha256: str


class ClaimRequest(WireModel):
    worker: str = Field(max_length=200, description="Who claims: host and process, for people to read.")
    key: UUID | None = Field(
        None, description="New for each claim: with it, a repeat whose first answer was lost gets the job as well."
    )
    worker_id: UUID | None = Field(
        None, description="Its place among the workers; without one it counts as a plain machine, with no GPU or label."
    )


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
    resources: Resources = Field(default_factory=Resources)


class ResumePoint(BaseModel):
    """Where an attempt goes on whose processes were all started again: what its claim would say now."""

    checkpoint: CheckpointView | None
    committed: list[CommittedVersion]


class CommittedVersion(BaseModel):
    repository: str
    version: str
    branch: str


class Heartbeat(WireModel):
    """A sign of life. `state` says where the work stands; without it, that stays as it is."""

    state: Literal[JobState.RUNNING, JobState.UPLOADING] | None = None
    progress: float | None = Field(None, ge=0, le=1)
    message: str | None = Field(None, max_length=500)


class HeartbeatAnswer(BaseModel):
    """`cancel`: end now and keep nothing. `stop`: end at the next step and commit the best state so far."""

    cancel: bool
    stop: bool = False
    lease_seconds: int


def json_value(value: float) -> float | str:
    """A number as JSON can carry it: what is not finite by its name."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class MetricPoint(WireModel):
    """One value of one series at one step. Sending it twice is the same as once.

    A value that is no finite number travels as "NaN", "Infinity" or "-Infinity": JSON has no numbers for them.
    """

    name: str = Field(min_length=1, max_length=250, pattern=r"^[A-Za-z0-9_./: -]+$")
    step: int = Field(ge=0, lt=2**62)
    value: float
    timestamp: int | None = Field(
        None, ge=0, lt=2**62, description="Milliseconds since 1970; when the platform hears of it, if none is given."
    )

    @field_serializer("value", when_used="json")
    def _value_in_json(self, value: float) -> float | str:
        return json_value(value)


class MetricBatch(WireModel):
    points: list[MetricPoint] = Field(max_length=10_000)


class SampleView(BaseModel):
    """A picture that a job left at a step; `url` is where it is read."""

    id: int
    name: str
    step: int
    width: int
    height: int
    url: str


class LogLine(WireModel):
    """One line of a job's output, numbered by its writer within the attempt, so that sending twice is once."""

    number: int = Field(ge=0)
    text: str = Field(max_length=8_000)


class LogBatch(WireModel):
    lines: list[LogLine] = Field(max_length=2_000)


class CheckpointOffer(WireModel):
    """A training state after `step`, counted as metrics count theirs: who resumes from it writes those beyond anew."""

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
    task: str = Field("", max_length=40)
    pictures: int = Field(0, ge=0)
    intervals: dict[str, Interval] = Field(default_factory=dict)
    measures: Measures | None = None
    replicates: Replicates | None = None
    samples: list[WorstSample] = Field(default_factory=list, max_length=MOST_SAMPLES)


class LineageReport(WireModel):
    """An edge that the job knows: `target` was made from `source`."""

    relation: Literal[
        "trained-on", "fine-tuned-from", "merged-from", "pruned-from", "exported-from", "quantized-from", "evaluated-on"
    ]
    source: str
    target: str


# The name under which a result says that somebody stopped the job, and its best state so far was kept.
STOPPED_EARLY = "stopped_early"


class Finish(WireModel):
    """The last word of an attempt. Sending the same again is the same as once."""

    state: Literal[JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
    result: dict[str, Any] = Field(default_factory=dict)
    error: str | None = Field(None, max_length=4_000)
    # Failed for a cause that may pass (a lost connection, a full disk): another attempt is worth it.
    retryable: bool = False
    # The worker was told to stop and gives the job back: the attempt does not count.
    released: bool = False


ResumePoint.model_rebuild()
Claim.model_rebuild()
