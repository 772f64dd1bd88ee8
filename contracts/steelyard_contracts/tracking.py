"""Runs that train elsewhere and report here, as they travel.

    POST /api/v1/runs              RunRequest    a name that is taken gets a number; a repeat of a key is one run
    POST /api/v1/runs/{id}/points  RunPoints     the same point twice is the same as once
    POST /api/v1/runs/{id}/lines   RunLines      numbered by their writer, so that the same line twice is once
    POST /api/v1/runs/{id}/finish  RunFinish     the first end counts

    running --finish--> succeeded | failed | cancelled --resume--> running

A run is a job of kind `run`: no worker claims it, it holds no lease and is never lost. One that is silent for long is
shown so, and goes on when it speaks again. Every answer to it is a `RunAnswer`, by which it hears that somebody wants
it to end.

What others call their metrics is never refused: `metric_name` makes of it what a series may be called.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field

from steelyard_contracts.jobs import JobState, LogLine, MetricPoint
from steelyard_contracts.run_specs import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_DATASETS,
    SILENT_SECONDS,
    Configuration,
    Facts,
    GitState,
    RunFacts,
    RunSource,
    RunSpec,
    Text,
    plain_json,
    plain_text,
    run_name,
    without_credentials,
)
from steelyard_contracts.wire import WireModel

__all__ = [
    "LARGEST_CONFIGURATION",
    "LONGEST_METRIC_NAME",
    "MOST_LINES",
    "MOST_POINTS",
    "SILENT_SECONDS",
    "GitState",
    "RunAnswer",
    "RunFacts",
    "RunFinish",
    "RunLines",
    "RunPoint",
    "RunPoints",
    "RunRequest",
    "RunResume",
    "RunSource",
    "RunSpec",
    "RunUpdate",
    "SavedVersion",
    "metric_name",
    "plain_json",
    "plain_text",
    "run_name",
    "sample_name",
    "without_credentials",
]

MOST_POINTS = 10_000  # of one request
MOST_LINES = 2_000
LONGEST_METRIC_NAME = 250
LONGEST_SAMPLE_NAME = 100
LARGEST_CONFIGURATION = 1_000_000  # characters of its JSON
# Lines beyond are the platform's own words; no writer counts so far.
MOST_LINE_NUMBERS = 2_000_000_000

_NOT_IN_METRIC = re.compile(r"[^A-Za-z0-9_./: -]+")
_NOT_IN_SAMPLE = re.compile(r"[^A-Za-z0-9_./ -]+")
_LONGEST_RAW = 10_000
_DIGEST = 8
_FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)


def metric_name(raw: str) -> str:
    """What a series may be called, of what somebody calls their metric: the one place that decides it.

    `metrics/mAP50(B)` becomes `metrics/mAP50_B`. Letters beyond ASCII lose their accents, and where that leaves
    nothing, or the name is too long, a short digest keeps different names apart.

    >>> metric_name("metrics/mAP50(B)")
    'metrics/mAP50_B'
    """
    return _cleaned(raw[:_LONGEST_RAW], _NOT_IN_METRIC, LONGEST_METRIC_NAME)


def sample_name(raw: str) -> str:
    """The same for a picture's name."""
    return _cleaned(raw[:_LONGEST_RAW], _NOT_IN_SAMPLE, LONGEST_SAMPLE_NAME)


@lru_cache(maxsize=20_000)
def _cleaned(raw: str, unwanted: re.Pattern[str], longest: int) -> str:
    if raw and len(raw) <= longest and not unwanted.search(raw) and raw.strip() == raw:
        return raw
    plain = unicodedata.normalize("NFKD", raw)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    is_whole = plain.isascii()
    name = unwanted.sub("_", plain).strip(" _") or "unnamed"
    if is_whole and len(name) <= longest:
        return name
    digest = hashlib.sha256(raw.encode("utf-8", "replace")).hexdigest()[:_DIGEST]
    return f"{name[: longest - _DIGEST - 1]}-{digest}"


def _bounded(config: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(config)) > LARGEST_CONFIGURATION:
        raise ValueError(f"a configuration has at most {LARGEST_CONFIGURATION} characters as JSON; save it as a file")
    return config


BoundedConfiguration = Annotated[Configuration, AfterValidator(_bounded)]
Moment = Annotated[AwareDatetime, Field(ge=_FIRST_DAY)]


class RunRequest(WireModel):
    """A run that starts, or that was done before and is told of now."""

    project: str = Field(max_length=200, description="The model repository team/name that it belongs to.")
    name: str | None = Field(None, max_length=_LONGEST_RAW, description="One that is taken gets a number behind it.")
    config: BoundedConfiguration = Field(default_factory=dict)
    source: RunSource = RunSource.STEELYARD
    environment: Facts = Field(default_factory=dict)
    git: GitState | None = None
    datasets: list[str] = Field(
        default_factory=list, max_length=MOST_DATASETS, description="What it trains on; pinned to versions now."
    )
    base: str | None = Field(None, max_length=400, description="The version that it starts from; pinned now.")
    key: UUID | None = Field(None, description="New for each start; said again, the answer is the same run.")
    total_steps: int | None = Field(None, ge=1, lt=2**62, description="Where its steps end: progress follows from it.")
    started_at: Moment | None = Field(None, description="When it began, if that was not just now.")
    tags: Facts = Field(default_factory=dict)


class RunUpdate(WireModel):
    """What has changed. Of `config`, `tags` and `environment` the keys that are named; a tag that is null goes."""

    name: str | None = Field(None, min_length=1, max_length=_LONGEST_RAW)
    config: BoundedConfiguration | None = None
    tags: dict[Annotated[str, Field(max_length=LONGEST_NAME)], Text | None] | None = None
    total_steps: int | None = Field(None, ge=1, lt=2**62)
    message: Text | None = Field(None, max_length=LONGEST_TEXT)
    progress: float | None = Field(None, ge=0, le=1)
    environment: Facts | None = None
    git: GitState | None = None


class RunPoint(MetricPoint):
    """One value of one series. Its name is cleaned by `metric_name`, and never refused."""

    name: Annotated[str, BeforeValidator(lambda raw: metric_name(raw) if isinstance(raw, str) else raw)]


class RunPoints(WireModel):
    """None at all is a sign of life."""

    points: list[RunPoint] = Field(max_length=MOST_POINTS)


class RunLines(WireModel):
    """Lines of output, each with its number within the attempt: the present one, unless another is named."""

    lines: list[LogLine] = Field(max_length=MOST_LINES)
    attempt: int | None = Field(None, ge=1, lt=2**15)


class RunAnswer(BaseModel):
    """`cancel`: somebody wants the run to end now. `stop`: at its next step, with what it has."""

    cancel: bool
    stop: bool = False


class SavedVersion(WireModel):
    """A version of the project that the run committed; or of another model, that was registered from it."""

    version: str = Field(max_length=100, description="v3, or its 40-digit id.")
    model: str | None = Field(None, max_length=200, description="team/name of that other model.")


class RunFinish(WireModel):
    state: Literal[JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
    error: Text | None = Field(None, max_length=LONGEST_TEXT)
    result: BoundedConfiguration = Field(default_factory=dict)
    at: Moment | None = Field(None, description="When it ended, if that was not just now.")
    attempt: int | None = Field(None, ge=1, lt=2**15, description="Which one ended; another's end changes nothing.")


class RunResume(WireModel):
    """The run goes on under its id, as a new attempt."""

    key: UUID | None = Field(None, description="New for each resume; said again, it is the same attempt.")
    environment: Facts = Field(default_factory=dict)
