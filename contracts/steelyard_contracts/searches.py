r"""A search over what a training is asked to do: what may vary, what is looked at, and how long it goes on.

    SearchSpec(train=TrainSpec(dataset="lab/digits", output="lab/reader"), space={
        "learning_rate": FloatRange(low=1e-4, high=1e-1, log=True), "batch_size": Choices(choices=[16, 32, 64])})

Each trial is a job of the kind `train`. The states of a search:

    running --all trials have ended-----> succeeded | failed (when none of them completed)
      | | \--so many failed in a row----> failed
      | \--cancel-----------------------> cancelled; its trials are cancelled too
      \--stop, or its time is over--> stopping --its trials end--> stopped       (or cancelled)

    succeeded | stopped | failed | cancelled --resume--> running

and of a trial:

    running --its job succeeded--> complete
            --the pruner ends it--> pruned
            --its job failed, or was lost, or never gave the metric--> failed
            --somebody cancelled its job--> cancelled
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue, ValidationError, field_validator, model_validator

from steelyard_contracts.errors import InvalidNameError
from steelyard_contracts.names import check_reference_name
from steelyard_contracts.promotions import RELEASE
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.wire import WireModel, faults_in_words
from steelyard_contracts.workers import Resources

MOST_TRIALS = 2_000
# What every trial has in common, or what the search itself decides.
_FIXED = frozenset({"kind", "task", "dataset", "output", "branch"})


class SearchState(StrEnum):
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in {SearchState.RUNNING, SearchState.STOPPING}


class TrialState(StrEnum):
    RUNNING = "running"  # its job waits for a worker, or is being done
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FloatRange(WireModel):
    """Any number from `low` to `high`; evenly by its logarithm with `log`; only every `step` with one."""

    kind: Literal["float"] = "float"
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False
    step: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _check_range(self.low, self.high, self.step, is_log=self.log)
        return self

    def values(self) -> list[float] | None:
        """Each of them; None where there are too many to count."""
        if self.step is None:
            return None
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        return [float(low + step * place) for place in range(round((self.high - self.low) / self.step) + 1)]

    def extremes(self) -> list[JsonValue]:
        return [self.low, self.high]


class IntRange(WireModel):
    """A whole number from `low` to `high`; evenly by its logarithm with `log`."""

    kind: Literal["int"] = "int"
    low: int
    high: int
    log: bool = False
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _check_range(self.low, self.high, self.step if self.step > 1 else None, is_log=self.log)
        return self

    def values(self) -> list[int] | None:
        return list(range(self.low, self.high + 1, self.step))

    def extremes(self) -> list[JsonValue]:
        return [self.low, self.high]


class Choices(WireModel):
    """One of these, without an order: words, numbers, yes and no, or whole lists such as `hidden_sizes`."""

    kind: Literal["choices"] = "choices"
    choices: list[JsonValue] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len({json.dumps(one, sort_keys=True) for one in self.choices}) < len(self.choices):
            raise ValueError("the same choice stands there twice; name each once")
        return self

    def values(self) -> list[JsonValue] | None:
        return self.choices

    def extremes(self) -> list[JsonValue]:
        return self.choices


Parameter = Annotated[FloatRange | IntRange | Choices, Field(discriminator="kind")]
# A field of `TrainSpec`, or of what it holds: "learning_rate", "architecture.embedding_size".
ParameterName = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")]


class MedianPruning(WireModel):
    """Ends a trial whose best value so far is worse than the median of the others at the same report."""

    kind: Literal["median"] = "median"
    startup_trials: int = Field(5, ge=1, le=1000, description="Nothing is ended before so many trials completed.")
    warmup_reports: int = Field(1, ge=0, le=10_000, description="A trial's first reports, which end nothing.")


class HalvingPruning(WireModel):
    """Successive halving: at report `min_reports`, and at each `factor` times as many, the best 1/`factor` go on."""

    kind: Literal["halving"] = "halving"
    min_reports: int = Field(1, ge=1, le=10_000)
    factor: int = Field(3, ge=2, le=100)


Pruning = Annotated[MedianPruning | HalvingPruning, Field(discriminator="kind")]


class SearchSpec(WireModel):
    """Find the values of some of a training's fields with which `metric` becomes best."""

    name: str = Field("", max_length=100, description="For people; the output's name when it is empty.")
    train: TrainSpec = Field(description="What all trials have in common; the best version goes to its branch.")
    space: dict[ParameterName, Parameter] = Field(min_length=1, max_length=30)
    metric: str = Field("validation/accuracy", max_length=100, pattern=r"^[A-Za-z0-9_./-]+$")
    direction: Literal["maximize", "minimize"] = "maximize"
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    startup_trials: int = Field(10, ge=1, le=1000, description="TPE's first trials, which are random.")
    pruner: Pruning | None = Field(default_factory=MedianPruning)
    trials: int = Field(20, ge=1, le=MOST_TRIALS)
    parallel: int = Field(1, ge=1, le=100, description="Trials at once, as far as there are workers.")
    resources: Resources = Field(default_factory=Resources, description="What each trial needs of its machine.")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    time_limit_hours: float | None = Field(None, gt=0, le=10_000, description="No new trial begins after it.")
    most_failures: int = Field(3, ge=1, le=1000, description="So many failed trials in a row end the search.")
    promote_to: str | None = Field(None, description="An alias of the output that the best version gets at the end.")
    keep: Literal["best", "all"] = Field("best", description="Whose versions stay; the others go to the trash.")

    @field_validator("promote_to")
    @classmethod
    def _is_an_alias(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value == RELEASE:
            raise ValueError(f"{RELEASE!r} is what gates call releases to devices; choose another alias")
        try:
            return check_reference_name(value, "alias")
        except InvalidNameError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _values_fit_a_training(self) -> Self:
        for name, parameter in self.space.items():
            if name in _FIXED:
                raise ValueError(f"{name!r} is the same for all trials of a search; it cannot vary")
            for value in parameter.extremes():
                _check_value(self.train, name, value)
        return self

    @model_validator(mode="after")
    def _a_grid_can_be_counted(self) -> Self:
        if self.sampler != "grid":
            return self
        size = 1
        for name, parameter in self.space.items():
            values = parameter.values()
            if values is None:
                raise ValueError(f"a grid tries every value of {name!r}: give it a step, or choices")
            size *= len(values)
        if size > MOST_TRIALS:
            raise ValueError(f"the grid has {size:,} points, and a search at most {MOST_TRIALS:,} trials: coarsen it")
        return self

    @property
    def limit(self) -> int:
        """How many trials there will be: a grid ends when it is used up."""
        if self.sampler != "grid":
            return self.trials
        return min(self.trials, math.prod(len(one.values() or []) for one in self.space.values()))


class SearchRequest(WireModel):
    spec: SearchSpec


class MoreTrials(WireModel):
    trials: int = Field(0, ge=0, le=MOST_TRIALS, description="How many more than the search had asked for.")


class TrialView(BaseModel):
    """One try. `value`: the metric of the version that it made; of one that was pruned, its last report."""

    number: int
    state: TrialState
    params: dict[str, JsonValue]
    value: float | None
    reports: int
    job: UUID | None
    version: str | None
    reason: str
    created_at: datetime
    finished_at: datetime | None


class SearchView(BaseModel):
    """A search as its page, the API and the SDK show it. `trials`: how many there are in each state."""

    id: UUID
    team: str
    name: str
    state: SearchState
    spec: SearchSpec
    created_by: str
    created_at: datetime
    started_at: datetime
    finished_at: datetime | None
    message: str
    asked: int
    trials: dict[TrialState, int]
    best: TrialView | None
    version: str | None = Field(description="The best trial's version, on the output's branch, once the search ended.")
    importance: dict[str, float] = Field(description="Share of each parameter in being among the best tenth.")


def trial_spec(train: TrainSpec, params: Mapping[str, Any], *, branch: str) -> TrainSpec:
    """What a trial's job is asked to do. Raises: ValidationError when the values do not go together."""
    return _with(train, {**params, "branch": branch})


def _with(train: TrainSpec, values: Mapping[str, Any]) -> TrainSpec:
    fields = train.model_dump(mode="json")
    for name, value in values.items():
        *path, last = name.split(".")
        inside = fields
        for part in path:
            if inside.get(part) is None:
                inside[part] = {}
            inside = inside[part]
        inside[last] = value
    return TrainSpec.model_validate(fields)


def _check_value(train: TrainSpec, name: str, value: JsonValue) -> None:
    """Raises: ValueError when no training can have it."""
    try:
        _with(train, {name: value})
    except ValidationError as error:
        raise ValueError(f"a training cannot have {name} = {value!r}: {faults_in_words(error)}") from error
    except (AttributeError, TypeError) as error:  # "epochs.more": there is nothing inside
        raise ValueError(f"a training has no field {name!r}") from error


def _check_range(low: float, high: float, step: float | None, *, is_log: bool) -> None:
    """Raises: ValueError with a sentence."""
    if low >= high:
        raise ValueError(f"the range from {low:g} to {high:g} is empty: low must be less than high")
    if is_log and low <= 0:
        raise ValueError(f"a logarithmic range begins above 0, not at {low:g}")
    if step is None:
        return
    if is_log:
        raise ValueError("a logarithmic range has no step; leave one of the two out")
    if (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) != 0:
        raise ValueError(f"steps of {step:g} do not lead from {low:g} to {high:g}; choose another step or another end")
