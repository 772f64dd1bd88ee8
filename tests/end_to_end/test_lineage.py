"""Lineage as jobs record it and as pushed cards declare it, read with the SDK and the command."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import HfApi

from steelyard_contracts.jobs import JobState

pytestmark = [pytest.mark.end_to_end]

CARD = """---
base_model: [lab/ancestor, google/vit-base]
base_model_relation: merge
datasets: lab/stripes@v1
---
# Merged
"""


def test_from_a_dataset_through_a_job_to_a_model_that_a_hub_client_pushed(installation, hub, dataset, quick):
    job = hub.wait(hub.train(dataset=dataset, output="lab/ancestor", **quick).id)
    assert job.state is JobState.SUCCEEDED
    api = HfApi(endpoint=installation.url, token=installation.token)
    api.create_repo("lab/merged")
    api.upload_file(path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id="lab/merged")
    assert {(edge.relation, edge.source, edge.declared, edge.external) for edge in hub.lineage("lab/merged")} == {
        ("merged-from", "lab/ancestor@v1", True, False),
        ("merged-from", "google/vit-base", True, True),
        ("trained-on", "datasets:/lab/stripes@v1", True, False),
        ("trained-on", "datasets:/lab/stripes@v1", False, False),
        ("evaluated-on", "datasets:/lab/stripes@v1", False, False),
    }
    shown = installation.run("steelyard", "lineage", "lab/merged").stdout
    assert shown.startswith("lab/merged@v1\n├── merged-from lab/ancestor@v1 (says the card)\n")
    assert "merged-from google/vit-base (not here)" in shown
    down = ["steelyard", "lineage", "datasets:/lab/stripes@v1", "--descendants", "--json"]
    targets = {edge["target"] for edge in json.loads(installation.run(*down).stdout)}
    assert {"lab/ancestor@v1", "lab/merged@v1"} <= targets
    assert list(hub.deployments("lab/merged")) == []
    assert "device" in installation.run("steelyard", "devices", "running", "datasets:/lab/stripes@v1").stdout
