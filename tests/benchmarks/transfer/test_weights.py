"""The scenarios hold what their names say, or every figure about them is wrong."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.transfer import weights
from benchmarks.transfer.rounds import SCENARIOS

MEGABYTES = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    weights.make(folder, MEGABYTES)
    return folder


def tensors(made, scenario):
    return load_file(made / scenario / "model.safetensors")


def changed_share(made, scenario):
    """Of the numbers, those that are not what they were."""
    base, other = tensors(made, "base"), tensors(made, scenario)
    return sum(np.count_nonzero(base[name] != other[name]) for name in base) / sum(map(np.size, base.values()))


def body(path):
    data = path.read_bytes()
    return data[8 + struct.unpack("<Q", data[:8])[0] :]


def test_it_is_a_network_of_the_size_that_was_asked_for(made):
    base = tensors(made, "base")
    assert sum(tensor.nbytes for tensor in base.values()) == pytest.approx(MEGABYTES * 1e6, rel=0.01)
    assert len(base) == 149
    sizes = [tensor.size for tensor in base.values()]
    assert max(sizes) > 100 * min(sizes)


@pytest.mark.parametrize(("scenario", "share"), [("head", 0.02), ("attention", 0.30), ("full", 1.0)])
def test_a_fine_tune_changes_the_share_it_names(made, scenario, share):
    assert changed_share(made, scenario) == pytest.approx(share, rel=0.03)


def test_a_fine_tune_leaves_every_other_tensor_alone(made):
    base, tuned = tensors(made, "base"), tensors(made, "head")
    assert {name for name in base if (base[name] != tuned[name]).any()} == {"head.weight", "head.bias"}


def test_an_attention_fine_tune_is_spread_over_every_block(made):
    base, tuned = tensors(made, "base"), tensors(made, "attention")
    blocks = {name.split(".")[1] for name in base if (base[name] != tuned[name]).any()}
    assert len(blocks) == weights.BLOCKS


def test_the_cast_holds_the_same_numbers_in_half_the_bytes(made):
    base, cast = tensors(made, "base"), tensors(made, "fp16")
    assert all((cast[name] == base[name].astype(np.float16)).all() for name in base)
    assert {tensor.dtype for tensor in cast.values()} == {np.dtype(np.float16)}


@pytest.mark.parametrize("scenario", ["reordered", "metadata"])
def test_what_only_looks_different_holds_the_same_tensors(made, scenario):
    base, other = tensors(made, "base"), tensors(made, scenario)
    assert all((base[name] == other[name]).all() for name in base)
    assert (made / "base" / "model.safetensors").read_bytes() != (made / scenario / "model.safetensors").read_bytes()


def test_reordered_tensors_lie_elsewhere_and_other_metadata_leaves_them_in_place(made):
    lies = {name: body(made / name / "model.safetensors") for name in ("base", "reordered", "metadata")}
    assert lies["base"] == lies["metadata"] != lies["reordered"]


def test_the_pt_twin_holds_the_same_numbers_uncompressed(made):
    import torch

    base = tensors(made, "base")
    twin = torch.load(made / "pt" / "model.pt", weights_only=True)
    assert all((twin[name].numpy() == base[name]).all() for name in base)
    assert (made / "pt" / "model.pt").stat().st_size > sum(tensor.nbytes for tensor in base.values())


def test_every_model_has_its_config_beside_it(made):
    for scenario in SCENARIOS:
        assert json.loads((made / scenario / "config.json").read_text())["layers"] == weights.BLOCKS
