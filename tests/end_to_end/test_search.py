"""Search as the SDK and the command ask it."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind

pytestmark = pytest.mark.end_to_end


def test_the_sdk_and_the_command_find_what_was_pushed(hub, installation, tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\ntags: [nocturnal]\n---\n# Owls\nSeen from behind.")
    (tmp_path / "weights.bin").write_bytes(b"w" * 2000)
    hub.push(tmp_path, "lab/owls")
    hub.push(tmp_path, "datasets:/lab/owls")
    [found] = hub.search("behind", tags=["nocturnal"], license="mit", size=">1kB")
    assert (found.name, found.versions, found.size > 2000) == ("lab/owls", 1, True)
    assert [one.kind for one in hub.search("owl", kind=RepositoryKind.DATASET)] == ["dataset"]
    assert list(hub.search("owl", metrics=["accuracy>0"])) == []
    with pytest.raises(InvalidInputError) as refused:
        list(hub.search("owl", size="large"))
    assert "is no condition" in str(refused.value)

    asked = installation.run("steelyard", "search", "behi", "OWL", "--tag", "nocturnal", "--json")
    assert [one["name"] for one in json.loads(asked.stdout)] == ["lab/owls"]
    assert "lab/owls" in installation.run("steelyard", "search", "owls", "--datasets", "--sort", "name").stdout
    refused_command = installation.run("steelyard", "search", "accuracy>high", check=False)
    assert refused_command.returncode == 1
    assert "write, for example, accuracy>0.9" in refused_command.stderr
