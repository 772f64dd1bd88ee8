r"""What a device and the platform say to each other under `/api/device/v1`.

    enrol --> pending --(an operator accepts)--> accepted --(revoke)--> revoked

A device in a rollout goes

    waiting --> offered --> installing --> healthy
                                \--> rolled_back   it runs what it ran before
                                \--> failed        it could not even fetch or check the release
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, Field

from steelyard_contracts.manifests import Envelope
from steelyard_contracts.wire import WireModel


class DeviceState(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    REVOKED = "revoked"


class RolloutState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    HALTED = "halted"  # too many devices failed; nobody else is offered the release
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in {RolloutState.RUNNING, RolloutState.PAUSED}


class InstallState(StrEnum):
    WAITING = "waiting"
    OFFERED = "offered"
    INSTALLING = "installing"
    HEALTHY = "healthy"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in {InstallState.HEALTHY, InstallState.ROLLED_BACK, InstallState.FAILED}

    @property
    def is_bad(self) -> bool:
        return self in {InstallState.ROLLED_BACK, InstallState.FAILED}


class EnrolRequest(WireModel):
    """`key` is the device's own secret (`sy_…`), made on the device; the platform keeps only its hash."""

    name: str
    key: str = Field(min_length=43, max_length=100)
    info: dict[str, str] = Field(default_factory=dict)


class EnrolAnswer(BaseModel):
    device: UUID
    state: DeviceState
    # The installation's public key (PEM): the device pins it, and trusts no release signed by another.
    public_key: str


class PollRequest(WireModel):
    running: str | None = Field(None, description="The digest of the release the device runs, if any.")
    info: dict[str, str] = Field(default_factory=dict)


class ReleaseOffer(BaseModel):
    release: UUID
    digest: str
    manifest: Envelope


class PollAnswer(BaseModel):
    state: DeviceState
    offer: ReleaseOffer | None = None
    poll_seconds: float


class InstallReport(WireModel):
    release: UUID
    state: InstallState
    running: str | None = None
    detail: str = Field("", max_length=2_000)


class DeviceView(BaseModel):
    name: str
    team: str
    state: DeviceState
    running: str | None
    running_version: str | None
    last_seen_at: datetime | None
    info: dict[str, str]


class ReleaseView(BaseModel):
    id: UUID
    repository: str
    version: str
    digest: str
    size: int
    reason: str = ""
    overridden: list[str] = Field(default_factory=list, description="What gates had said against it.")
    created_by: str
    created_at: datetime


class RolloutDeviceView(BaseModel):
    device: str
    stage: int
    state: InstallState
    detail: str
    updated_at: datetime


class RolloutView(BaseModel):
    id: UUID
    release: ReleaseView
    state: RolloutState
    stage: int
    stages: int
    devices: list[RolloutDeviceView]
    created_by: str
    created_at: datetime


class ReleaseRequest(WireModel):
    model: str = Field(description="A model reference, e.g. team/reader@production.")
    variant: str | None = Field(None, description="A variant of that version, e.g. onnx-int8.")
    reason: str = Field("", max_length=500)
    override: bool = Field(default=False, description="Past gates that refuse: for maintainers, with a reason.")


class RolloutRequest(WireModel):
    release: UUID
    devices: list[str] = Field(min_length=1, max_length=10_000)
    first: int = Field(1, ge=1, description="Devices in the first stage; the others wait until they are healthy.")
    max_failures: int = Field(0, ge=0, description="Failed devices after which nobody else is offered the release.")
    override: bool = Field(default=False, description="Past gates that refuse by now: for maintainers, with a reason.")
    reason: str = Field("", max_length=500)
