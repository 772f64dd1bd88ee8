"""What the server answers with, as typed values: what only the SDK's users read, and no other part shares."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from steelyard_contracts.evaluation import EvaluationView
from steelyard_contracts.promotions import GateVerdict


class Alias(BaseModel):
    name: str
    version: str
    protected: bool


class Repository(BaseModel):
    """A repository as a search finds it. `measures`: what the search asked for, such as accuracy."""

    name: str
    kind: str
    public: bool
    created_at: datetime
    updated_at: datetime
    versions: int
    tags: list[str] = []
    task: str = ""
    library: str = ""
    size: int = 0
    downloads: int = 0
    measures: dict[str, float] = {}


class AliasMove(BaseModel):
    """`to_version` is None where the alias was deleted; `overridden`: what gates had said against it."""

    alias: str
    from_version: str | None
    to_version: str | None
    actor: str
    reason: str
    at: datetime
    verdicts: list[GateVerdict] = []
    overridden: list[str] = []
    promotion: int | None = None


class Tag(BaseModel):
    name: str
    version: str
    message: str


class Edge(BaseModel):
    """`target` was made from `source`."""

    relation: str
    source: str
    target: str


class DatasetContent(BaseModel):
    """What a dataset version holds, read from its layout and its annotations."""

    layout: str | None
    tasks: list[str]
    labels: list[str]
    pictures: dict[str, int]
    faults: list[str]
    fault_count: int


class Version(BaseModel):
    """A version with what is known about it."""

    version: str
    commit: str
    branch: str
    parent: str | None
    title: str
    author: str
    files: int
    size: int
    quarantined: bool = False
    aliases: list[str] = []
    variants: dict[str, str] = {}
    evaluations: list[EvaluationView] = []
    lineage: list[Edge] = []
    splits: dict[str, dict[str, int]] | None = None
    dataset: DatasetContent | None = None


class Series(BaseModel):
    """A metric by step; with more points than were asked for, each value is the mean of a few, with lowest and highest.

    `marks`: steps with something that is no finite number, and what (NaN, Infinity, -Infinity).
    """

    name: str
    steps: list[int]
    values: list[float | None]
    lows: list[float | None] = []
    highs: list[float | None] = []
    marks: dict[int, str] = {}


class LogLine(BaseModel):
    id: int
    attempt: int
    number: int
    text: str


class Gate(BaseModel):
    id: int
    rule: str
    applies_to: str
