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
        ("broken.pt", "broken-archive"),
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


def test_two_versions_are_told_apart_by_what_changed(hub, installation, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    backbone = np.arange(300_000, dtype=np.float32)
    for head, card in ((1.0, "# First"), (1.5, "# Second")):
        tensors = {"backbone.conv": backbone, "head.weight": np.full((4, 50), head, np.float32)}
        save_file(tensors, folder / "model.safetensors")
        (folder / "README.md").write_text(f"{card}\n\nThe rest.")
        hub.push(folder, "lab/told-apart")
    said = installation.run("steelyard", "diff", "lab/told-apart@v1", "lab/told-apart@v2").stdout
    assert "Only head.* changed; backbone.* is bit-identical." in said
    text = installation.run("steelyard", "diff", "lab/told-apart@v1", "lab/told-apart@v2", "--json").stdout
    found = json.loads(text)
    assert list(found) == ["changed", "added", "removed", "reshaped", "cast", "unchanged_count"]
    (changed,) = found["changed"]
    assert changed["name"] == "head.weight"
    assert changed["relative_l2"] == pytest.approx(0.5)
    assert changed["cosine_similarity"] == pytest.approx(1)
    assert (changed["max_abs_change"], changed["changed_share"], found["unchanged_count"]) == (0.5, 1, 1)
    view = hub.compare("lab/told-apart@v1", "lab/told-apart@v2")
    assert view.files.changed == ["README.md", "model.safetensors"]
    assert "-# First\n+# Second" in view.texts[0].diff
    (job,) = [job for job in hub.jobs() if job.kind == "compare" and job.spec.left == "lab/told-apart@v1"]
    assert job.result == {"tensors": 1, "bytes_read": 2 * 800}
    save_file({"head.weight": np.zeros((4, 50), np.float32)}, folder / "model.safetensors")
    hub.push(folder, "lab/another")
    across = hub.compare("lab/told-apart@v1", "lab/another@v1")
    assert (across.removed, across.changed[0].relative_l2) == (["backbone.conv"], 1)
