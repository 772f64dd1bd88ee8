"""A dangerous file, from push to lift, met by the clients that people use; and the way out: safetensors."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from steelyard_contracts.errors import ForbiddenError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.weights import QuarantineState
from tests.support.malicious import attack, torch_zip

pytestmark = pytest.mark.end_to_end
EVIL = torch_zip(attack(), ("archive/byteorder", b"little"))

DOWNLOAD = """
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError
try:
    print(snapshot_download("lab/dangerous", revision="v1"))
except GatedRepoError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def dangerous(installation, tmp_path_factory):
    """`lab/dangerous@v1`, pushed and inspected."""
    import steelyard

    folder = tmp_path_factory.mktemp("dangerous")
    (folder / "model.pt").write_bytes(EVIL)
    (folder / "config.json").write_text("{}")
    with steelyard.connect(installation.url, installation.token, quiet=True) as client:
        client.push(folder, "lab/dangerous")
        client.inspect("lab/dangerous@v1")
    return "lab/dangerous@v1"


def test_everybody_is_refused_with_the_reason_until_a_maintainer_lifts_it(installation, hub, dangerous, tmp_path):
    found = hub.quarantine(dangerous)
    assert (found.state, found.findings[0].path) == (QuarantineState.QUARANTINED, "model.pt")
    sentence = "model.pt: The pickle in archive/data.pkl imports posix.system"
    for target in (tmp_path / "here", None):
        with pytest.raises(ForbiddenError, match=sentence):
            hub.pull(dangerous, target)
    refused = installation.run("steelyard", "pull", dangerous, str(tmp_path / "there"), check=False)
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert sentence in installation.python(DOWNLOAD)
    lifted = installation.run("steelyard", "quarantine", "lift", dangerous, "--reason", "a drill").stdout
    assert "v1 is out of quarantine by a lift." in lifted
    assert (hub.pull(dangerous, tmp_path / "here") / "model.pt").read_bytes() == EVIL
    installation.run("steelyard", "quarantine", "restore", dangerous, "--reason", "the drill is over")
    assert "in quarantine" in installation.run("steelyard", "quarantine", "show", dangerous).stdout


def test_what_torch_pickled_becomes_safetensors_beside_it(installation, hub, tmp_path):
    folder = tmp_path / "pushed"
    folder.mkdir()
    tensors = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2).bfloat16()}
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text('{"architectures": []}')
    hub.push(folder, "lab/pickled")
    assert "version: v2" in installation.run("steelyard", "convert", "lab/pickled@v1").stdout
    made = hub.version("lab/pickled@v1-safetensors")
    edges = [(edge.relation, edge.source, edge.target) for edge in made.lineage]
    assert any(relation == "exported-from" and "lab/pickled@v1" in source for relation, source, _ in edges)
    back = load_file(hub.pull("lab/pickled@v1-safetensors", tmp_path / "pulled") / "model.safetensors")
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_conversion_that_would_run_code_fails_with_a_sentence(hub, dangerous):
    job = hub.wait(hub.convert(dangerous).id)
    assert job.state is JobState.FAILED
    assert "posix.system, which is code" in str(job.error)
