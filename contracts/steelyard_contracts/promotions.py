r"""Requests to move an alias, or to release a version to devices, as they travel between the platform and the SDK.

open --(all gates pass, somebody carries it out)--> carried_out
    \--(a maintainer rejects it)--> rejected
    \--(whoever asked takes it back)--> withdrawn
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from steelyard_contracts.wire import WireModel

# What a request asks for when it is not an alias: a release to devices.
RELEASE = "release"
LONGEST_WORDS = 2_000
LONGEST_REASON = 500


class PromotionState(StrEnum):
    OPEN = "open"
    CARRIED_OUT = "carried_out"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class PromotionStep(StrEnum):
    """What somebody did to a request."""

    COMMENT = "comment"
    APPROVAL = "approval"
    CHANGE = "change"
    REJECTION = "rejection"
    WITHDRAWAL = "withdrawal"
    CARRIED_OUT = "carried_out"


class GateVerdict(BaseModel):
    """What one gate says of one version; `measured` is null when nothing was."""

    rule: str
    passed: bool
    measured: float | None
    sentence: str


class PromotionEventView(BaseModel):
    step: PromotionStep
    author: str
    words: str
    subject: str = Field(description="The move that it was said of, for an approval.")
    counts: bool = Field(description="Whether it is an approval of what is asked for now.")
    at: datetime


class PromotionView(BaseModel):
    number: int
    repository: str
    version: str | None = Field(description="Null: the version was deleted.")
    target: str = Field(description="An alias, or 'release'.")
    replaces: str | None = Field(description="The version that the alias names now.")
    state: PromotionState
    words: str
    requester: str
    created_at: datetime


class PromotionDetail(PromotionView):
    """With what was said, and what the gates say now."""

    events: list[PromotionEventView]
    verdicts: list[GateVerdict]


class PromotionRequest(WireModel):
    revision: str
    target: str = Field(max_length=96, description="An alias, or 'release'.")
    words: str = Field("", max_length=LONGEST_WORDS)


class PromotionChange(WireModel):
    """Null: as it is. A change leaves earlier approvals without effect."""

    revision: str | None = None
    target: str | None = Field(None, max_length=96)
    words: str = Field("", max_length=LONGEST_WORDS)


class PromotionRemark(WireModel):
    words: str = Field("", max_length=LONGEST_WORDS)
    revision: str | None = Field(None, description="What was looked at; refused when something else is asked by now.")


class CarryOutRequest(WireModel):
    reason: str = Field("", max_length=LONGEST_REASON)
    override: bool = Field(default=False, description="Past gates that refuse: for maintainers, with a reason.")
