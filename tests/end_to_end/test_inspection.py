"""Weights that are pushed are inspected without anybody asking, through the SDK and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.weights import InspectionState

pytestmark = pytest.mark.end_to_end


def test_pushed_weights_tell_what_is_in_them(hub, installation, tmp_path):
    head = np.ones((4, 50), np.float32)
    head[0, 0] = np.nan
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"net.conv": np.arange(500_000, dtype=np.float32), "head.w": head}, folder / "model.safetensors")
    (folder / "README.md").write_text("# A model")
    (folder / "broken.pt").write_bytes(b"PK\x03\x04 and no more")
    hub.push(folder, "lab/inspected")
    view = hub.inspect("lab/inspected")
    assert (view.state, view.files, view.format, view.parameters) == (InspectionState.DONE, 2, "safetensors", 500_200)
    assert [module.name for module in view.modules] == ["head", "net"]
    assert {(finding.path, finding.code) for finding in view.findings} == {
        ("broken.pt", "truncated"),
        ("model.safetensors", "not-finite"),
    }
    tensors = {tensor.name: tensor for tensor in hub.tensors("lab/inspected")}
    assert tensors["head.w"].digest == sha256_of(head.tobytes())
    assert tensors["net.conv"].statistics.mean == 249_999.5
    said = installation.run("steelyard", "inspect", "lab/inspected").stdout
    assert "safetensors, 500 k parameters: F32 500 k" in said
    assert "'head.w' holds values that are no numbers: 1 NaN" in said
    assert json.loads(installation.run("steelyard", "inspect", "lab/inspected@v1", "--json").stdout)["state"] == "done"
