"""What Optuna answers, asked as a search asks it: from the trials alone, each time anew."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from steelyard_contracts.searches import SearchSpec, TrialState, trial_spec
from steelyard_contracts.training import TrainSpec
from steelyard_platform.jobs.suggestions import PastTrial, importance, suggest, to_prune

TRAIN = TrainSpec(dataset="lab/digits", output="lab/reader")
SPACE = {
    "learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "weight_decay": {"kind": "float", "low": 0.0, "high": 1.0},
    "epochs": {"kind": "int", "low": 1, "high": 20},
}


def spec_with(**fields):
    return SearchSpec.model_validate({"train": TRAIN, "space": SPACE, "trials": 40, **fields})


def score(params):
    """Best at a learning rate of 0.01 and a weight decay of 0.3; the epochs do not matter."""
    return -((math.log10(params["learning_rate"]) + 2) ** 2) - 4 * (params["weight_decay"] - 0.3) ** 2


def searched(spec, count):
    past: list[PastTrial] = []
    for number in range(1, count + 1):
        params = suggest(spec, past, number)
        past.append(PastTrial(number, TrialState.COMPLETE, params, score(params)))
    return past


def test_tpe_finds_better_values_than_chance():
    best = {
        sampler: sum(max(one.value for one in searched(spec_with(sampler=sampler, seed=seed), 40)) for seed in range(3))
        for sampler in ("tpe", "random")
    }
    assert best["tpe"] > best["random"]
    assert best["tpe"] / 3 > -0.02


def test_whoever_asks_again_is_told_the_same_and_a_later_number_is_told_something_else():
    spec = spec_with(seed=7)
    past = searched(spec, 14)
    running = PastTrial(15, TrialState.RUNNING, suggest(spec, past, 15))
    assert suggest(spec, past, 15) == running.params
    assert suggest(spec, [*past, running], 16) == suggest(spec, [*past, running], 16) != running.params
    assert suggest(spec, past[::-1], 15) == running.params
    assert suggest(spec_with(seed=8), past, 15) != running.params


def test_a_grid_is_walked_once_whatever_runs_at_the_same_time():
    space = {
        "epochs": {"kind": "int", "low": 1, "high": 3},
        "weight_decay": {"kind": "float", "low": 0.1, "high": 0.3, "step": 0.1},
        "augment": {"kind": "choices", "choices": [True, False]},
    }
    spec = spec_with(space=space, sampler="grid", trials=100)
    assert spec.limit == 18
    past: list[PastTrial] = []
    for number in range(1, 19):
        past.append(PastTrial(number, TrialState.RUNNING, suggest(spec, past, number)))
    assert len({tuple(sorted(one.params.items())) for one in past}) == 18
    assert {one.params["weight_decay"] for one in past} == {0.1, 0.2, 0.3}


def test_choices_may_be_lists_and_fields_may_lie_inside_others():
    space = {
        "architecture.hidden_sizes": {"kind": "choices", "choices": [[8, 16, 32], [16, 32, 64]]},
        "architecture.embedding_size": {"kind": "int", "low": 8, "high": 32, "step": 8},
        "label_smoothing": {"kind": "choices", "choices": [0, 0.1]},
    }
    spec = spec_with(space=space)
    params = suggest(spec, [], 1)
    made = trial_spec(spec.train, params, branch="search-1/trial-1")
    assert made.architecture is not None
    assert made.architecture.hidden_sizes == params["architecture.hidden_sizes"]
    assert (made.branch, made.dataset) == ("search-1/trial-1", "lab/digits")


CURVES = [[0.5, 0.7, 0.9], [0.4, 0.6, 0.8], [0.5, 0.6, 0.7], [0.3, 0.5, 0.6]]


def ended(curves):
    params = suggest(spec_with(), [], 1)
    return [PastTrial(number, TrialState.COMPLETE, params, curve[-1], curve) for number, curve in enumerate(curves, 1)]


def running(number, reports, judged=0):
    return PastTrial(number, TrialState.RUNNING, suggest(spec_with(), [], number), None, reports, judged)


def test_the_median_ends_a_trial_that_is_worse_than_the_others_were_then():
    spec = spec_with(pruner={"kind": "median", "startup_trials": 4, "warmup_reports": 1})
    past = ended(CURVES)
    assert to_prune(spec, [*past, running(5, [0.1])]) == {}  # its first report ends nothing
    assert to_prune(spec, [*past, running(5, [0.1, 0.2])]) == {5: 2}
    assert to_prune(spec, [*past, running(5, [0.1, 0.65])]) == {}
    assert to_prune(spec, [*past, running(5, [0.1, 0.2], judged=2)]) == {}  # looked at already
    assert to_prune(spec, [*past[:3], running(4, [0.1, 0.2])]) == {}  # too few to compare with
    assert to_prune(spec, [*past, running(5, [0.9, None]), running(6, [None, None])]) == {6: 2}


def test_with_a_loss_less_is_better():
    spec = spec_with(direction="minimize", pruner={"kind": "median", "startup_trials": 4})
    past = ended([[1 - value for value in curve] for curve in CURVES])
    assert to_prune(spec, [*past, running(5, [0.9, 0.8])]) == {5: 2}
    assert to_prune(spec, [*past, running(5, [0.9, 0.35])]) == {}


def test_halving_lets_the_best_third_of_each_rung_go_on_and_looks_at_each_report_in_its_moment():
    spec = spec_with(pruner={"kind": "halving", "min_reports": 1, "factor": 3})
    past = ended(CURVES[:2])
    assert to_prune(spec, [*past, running(3, [0.45])]) == {3: 1}
    assert to_prune(spec, [*past, running(3, [0.55, 0.1])]) == {}  # between two rungs
    assert to_prune(spec, [*past, running(3, [0.55, 0.6, 0.1])]) == {3: 3}
    assert to_prune(spec, [*past, running(3, [0.55, 0.6, 0.95])]) == {}
    assert to_prune(spec, [*past, running(3, [0.45, 0.9], judged=1)]) == {}  # its rung is behind it


def test_what_matters_is_told_once_enough_trials_are_complete():
    past = searched(spec_with(sampler="random", seed=3), 30)
    assert importance(spec_with(), past[:9]) == {}
    found = importance(spec_with(), past)
    assert sum(found.values()) == pytest.approx(1, abs=0.001)
    assert min(found, key=lambda name: found[name]) == "epochs"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"space": {"epochs": {"kind": "int", "low": 5, "high": 5}}}, "from 5 to 5 is empty"),
        ({"space": {"weight_decay": {"kind": "float", "low": 0, "high": 1, "log": True}}}, "begins above 0, not at 0"),
        (
            {"space": {"weight_decay": {"kind": "float", "low": 0.1, "high": 1, "step": 0.4}}},
            "do not lead from 0.1 to 1",
        ),
        (
            {"space": {"weight_decay": {"kind": "float", "low": 0.1, "high": 1, "step": 0.1, "log": True}}},
            "has no step",
        ),
        ({"space": {"epochs": {"kind": "choices", "choices": [1, 2, 1]}}}, "stands there twice"),
        ({"space": {"learning_rate": {"kind": "float", "low": 0.1, "high": 20}}}, "cannot have learning_rate = 20.0"),
        ({"space": {"momentun": {"kind": "float", "low": 0.1, "high": 0.2}}}, "cannot have momentun = 0.1"),
        ({"space": {"epochs.more": {"kind": "int", "low": 1, "high": 2}}}, "no field 'epochs.more'"),
        ({"space": {"output": {"kind": "choices", "choices": ["a/b", "a/c"]}}}, "the same for all trials"),
        ({"sampler": "grid"}, "a grid tries every value of 'learning_rate'"),
        ({"sampler": "grid", "space": {"seed": {"kind": "int", "low": 0, "high": 9999}}}, "has 10,000 points"),
        ({"promote_to": "release"}, "choose another alias"),
        ({"promote_to": "v3"}, "looks like a version"),
    ],
)
def test_an_impossible_search_is_refused_with_a_sentence(fields, sentence):
    with pytest.raises(ValidationError, match=sentence):
        spec_with(**fields)
