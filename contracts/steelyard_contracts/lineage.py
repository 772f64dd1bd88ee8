"""Lineage as it travels: which version was made from which, and which devices run what came of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from steelyard_contracts.fleet import DeviceState


class Direction(StrEnum):
    """Which way a walk goes from a version: to what it was made from, to what was made from it, or both."""

    ANCESTORS = "ancestors"
    DESCENDANTS = "descendants"
    BOTH = "both"


class LineageEdge(BaseModel):
    """`target` was made from (or measured on) `source`."""

    relation: str = Field(description="trained-on, fine-tuned-from, merged-from, quantized-from, pruned-from, ...")
    source: str = Field(description="A reference to a version; for what is not on this installation, the card's words.")
    target: str
    declared: bool = Field(default=False, description="A card says so; false: a job recorded it.")
    external: bool = Field(default=False, description="The source is no repository of this installation.")


class Deployment(BaseModel):
    """`device` was `deployed-to` with `version`: it says that it runs the release that was made of it."""

    device: str
    team: str
    state: DeviceState
    version: str
    release: str = Field(description="The digest of the release's manifest.")
    last_seen_at: datetime | None
