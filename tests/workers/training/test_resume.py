"""A run that was cut in the middle of an epoch goes on bit by bit as one that never was."""

from __future__ import annotations

import pytest
import torch

from steelyard_contracts.training import TrainSpec
from steelyard_workers.recipes import classification
from steelyard_workers.training.loop import fit

SMALL = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
GIVEN = {"dataset": "lab/two", "output": "lab/reader", "image_size": 16, "epochs": 3, "batch_size": 4, "seed": 3}
# A checkpoint after every step.
ALWAYS = {"checkpoint_seconds": 1e-9}
WAYS = {
    "sgd": {"architecture": SMALL, "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "schedule": "one-cycle"},
    "adamw": {"architecture": SMALL, "clip_norm": 1.0, "label_smoothing": 0.1, "class_weights": "balanced"},
    "muon": {"model": "vit-nano", "optimizer": "muon", "ema": 0.9, "accumulate": 2, "schedule": "linear"},
}


def run(session, spec):
    recipe, begun, machine = classification.prepare(session, spec, threads=1)
    return fit(session, recipe.spec, recipe, begun.network, machine)


def told(points):
    """What a chart shows, without what a clock says."""
    return {key: value for key, value in points.items() if key[0] != "train/images_per_s"}


@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_run_is_the_same_bit_by_bit(session_in, pictures, way):
    spec = TrainSpec.model_validate({**GIVEN, **WAYS[way], **ALWAYS})
    whole = session_in("whole", datasets=pictures)
    expected = run(whole, spec)
    steps = expected.steps
    for cut in (steps // 2, steps // 3 * 2):  # in the middle of an epoch, and where one ends
        first = session_in(f"first-{cut}", datasets=pictures)
        first.die_after = cut
        with pytest.raises(InterruptedError):
            run(first, spec)
        second = session_in(f"second-{cut}", datasets=pictures, checkpoint=first.saved[-1])
        resumed = run(second, spec)
        assert f"at step {cut}" in " ".join(second.lines)
        states = expected.network.state_dict(), resumed.network.state_dict()
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
        assert told({**first.points, **second.points}) == told(whole.points)
        assert (resumed.measures, resumed.epoch, resumed.steps) == (expected.measures, expected.epoch, steps)
