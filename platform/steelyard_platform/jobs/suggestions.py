"""What to try next, what to give up, and what mattered: Optuna's answers, each a pure function of the trials so far.

    suggest(spec, trials, number)     the parameters of trial `number`
    to_prune(spec, trials)            which running trials are to be ended, and at which of their reports
    importance(spec, trials)          each parameter's share in being among the best

No study is kept anywhere: it is made anew from the trials, and its sampler's seed from the search's seed and the
trial's number. Whoever asks again, after a crash or in another process, is told the same.

A trial's first report stands at step 1, its second at step 2: trials with other batch sizes make other numbers of
optimizer steps, and are compared epoch by epoch all the same.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState as OptunaState

from steelyard_contracts.searches import (
    Choices,
    FloatRange,
    HalvingPruning,
    IntRange,
    MedianPruning,
    Parameter,
    SearchSpec,
    TrialState,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)

# With fewer, the best tenth is one trial, and says nothing.
_ENOUGH_FOR_IMPORTANCE = 10


@dataclass(frozen=True, slots=True)
class PastTrial:
    """What is known of a trial. `reports`: None where the metric was no number; `judged`: how many were looked at."""

    number: int  # from 1
    state: TrialState
    params: dict[str, Any]
    value: float | None = None
    reports: Sequence[float | None] = ()
    judged: int = 0


def suggest(spec: SearchSpec, trials: Sequence[PastTrial], number: int) -> dict[str, Any]:
    """The parameters of trial `number`, given all those before it: numbers 1 to `number - 1`, none left out."""
    study = _study(spec, trials, _sampler(spec, number))
    found = study.ask(_distributions(spec)).params
    return {name: _from_optuna(spec.space[name], value) for name, value in found.items()}


def to_prune(spec: SearchSpec, trials: Sequence[PastTrial]) -> dict[int, int]:
    """The numbers of running trials that are to be ended, each with the report at which that was decided."""
    waiting = [one for one in trials if one.state is TrialState.RUNNING and len(one.reports) > one.judged]
    if spec.pruner is None or not waiting:
        return {}
    study, pruner = _study(spec, trials), _pruner(spec.pruner)
    ended = {}
    for trial in waiting:
        # Report by report, as if each had been looked at in its moment, however many came at once.
        for count in range(trial.judged + 1, len(trial.reports) + 1):
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of numpy, where all are NaN
                is_bad = pruner.prune(study, _until(study, spec, trial, count))
            if is_bad:
                ended[trial.number] = count
                break
    return ended


def importance(spec: SearchSpec, trials: Sequence[PastTrial]) -> dict[str, float]:
    """PED-ANOVA's shares, which sum to 1, the greatest first; empty while too few trials are complete."""
    complete = [one for one in trials if one.state is TrialState.COMPLETE]
    if len(complete) < _ENOUGH_FOR_IMPORTANCE or len({one.value for one in complete}) == 1:
        return {}
    found = optuna.importance.get_param_importances(_study(spec, complete))
    return {name: round(share, 4) for name, share in found.items()}


# --- the study, made anew ------------------------------------------------------------------------


def _study(
    spec: SearchSpec, trials: Sequence[PastTrial], sampler: optuna.samplers.BaseSampler | None = None
) -> optuna.Study:
    study = optuna.create_study(direction=spec.direction, sampler=sampler or optuna.samplers.RandomSampler(seed=0))
    distributions = _distributions(spec)
    study.add_trials(_frozen(spec, one, distributions) for one in sorted(trials, key=lambda one: one.number))
    return study


def _frozen(spec: SearchSpec, trial: PastTrial, distributions: dict[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    counted = trial.judged if trial.state is TrialState.RUNNING else len(trial.reports)
    return optuna.trial.create_trial(
        state=_STATES[trial.state],
        value=trial.value if trial.state is TrialState.COMPLETE else None,
        params={name: _to_optuna(spec.space[name], value) for name, value in trial.params.items()},
        distributions=distributions,
        intermediate_values=_steps(trial.reports),
        system_attrs=_rungs(spec, trial.reports[:counted]),
    )


_STATES = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.CANCELLED: OptunaState.FAIL,
}


def _until(study: optuna.Study, spec: SearchSpec, trial: PastTrial, count: int) -> optuna.trial.FrozenTrial:
    """The trial as it was at its report number `count`."""
    frozen = copy.deepcopy(study.get_trials(deepcopy=False)[trial.number - 1])
    frozen.intermediate_values = _steps(trial.reports[:count])
    frozen.system_attrs = _rungs(spec, trial.reports[: count - 1])
    return frozen


def _steps(reports: Sequence[float | None]) -> dict[int, float]:
    return {place: math.nan if value is None else value for place, value in enumerate(reports, 1)}


def _rungs(spec: SearchSpec, reports: Sequence[float | None]) -> dict[str, Any]:
    """What Optuna's halving has noted of a trial with these reports: its value at each rung that it reached."""
    if not isinstance(spec.pruner, HalvingPruning):
        return {}
    noted, steps = {}, _steps(reports)
    rung, step = 0, spec.pruner.min_reports
    while step in steps:
        noted[f"completed_rung_{rung}"] = steps[step]
        rung, step = rung + 1, step * spec.pruner.factor
    return noted


# --- what Optuna is told of a search -----------------------------------------------------------------


def _sampler(spec: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    seed = int.from_bytes(hashlib.sha256(f"{spec.seed}/{number}".encode()).digest()[:4])
    match spec.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=spec.startup_trials)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "grid":
            # All numbers walk over the same grid, in the order that the search's own seed gives it.
            return optuna.samplers.GridSampler(_grid(spec), seed=spec.seed)


def _grid(spec: SearchSpec) -> dict[str, list[Any]]:
    return {
        name: [_to_optuna(parameter, value) for value in parameter.values() or []]
        for name, parameter in sorted(spec.space.items())
    }


def _pruner(wanted: MedianPruning | HalvingPruning) -> optuna.pruners.BasePruner:
    match wanted:
        case MedianPruning():
            return optuna.pruners.MedianPruner(
                n_startup_trials=wanted.startup_trials, n_warmup_steps=wanted.warmup_reports + 1
            )
        case HalvingPruning():
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=wanted.min_reports, reduction_factor=wanted.factor
            )


def _distributions(spec: SearchSpec) -> dict[str, BaseDistribution]:
    # In the order of their names: a database gives an object's keys back in its own.
    return {name: _distribution(parameter) for name, parameter in sorted(spec.space.items())}


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case FloatRange(low=low, high=high, log=log, step=step):
            return FloatDistribution(low, high, log=log, step=step)
        case IntRange(low=low, high=high, log=log, step=step):
            return IntDistribution(low, high, log=log, step=step)
        case Choices(choices=choices):
            return CategoricalDistribution([_text(one) for one in choices])


def _to_optuna(parameter: Parameter, value: Any) -> Any:
    """Optuna's choices are words and numbers; ours may be lists, so each is told as its JSON."""
    return _text(value) if isinstance(parameter, Choices) else value


def _from_optuna(parameter: Parameter, value: Any) -> Any:
    return json.loads(value) if isinstance(parameter, Choices) else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
