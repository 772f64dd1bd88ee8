"""A bill of materials is valid CycloneDX, says what there is to say, and tells nobody what they may not see."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.services import set_visibility
from steelyard_platform.weights.bom import bom_of
from steelyard_platform.weights.models import Relation
from steelyard_platform.weights.services import record_evaluation, record_lineage
from steelyard_platform.weights.signing import signature_of
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db

CARD = b"""---
license: apache-2.0
pipeline_tag: image-classification
base_model: google/vit-base-patch16-224
datasets: [mnist]
tags: [digits]
---
# Reader
"""


@pytest.fixture
def dataset(owner, team):
    return picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)


@pytest.fixture
def version(owner, team, dataset):
    base = commit_files(make_repository(team, owner, "base"), owner, {"model.safetensors": b"0"})
    files = {"README.md": CARD, "model.safetensors": b"1", "nested/config.json": b"{}"}
    version = commit_files(make_repository(team, owner, "reader"), owner, files)
    record_lineage(source=dataset, target=version, relation=Relation.TRAINED_ON, job=None)
    record_lineage(source=base, target=version, relation=Relation.FINE_TUNED_FROM, job=None)
    report = EvaluationReport(model="-", dataset="-", runtime="onnxruntime-cpu", metrics={"accuracy": 0.97})
    record_evaluation(version=version, dataset=dataset, report=report, job=None)
    return version


def of(version, user):
    document = bom_of(version, actor=actor_for_user(user), origin="https://hub.example.org")
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
    assert fault is None, fault
    return document


def test_it_says_what_the_version_is_made_of_and_what_was_measured(version, owner, team):
    document = of(version, owner)
    model = document["metadata"]["component"]
    assert (model["type"], model["group"], model["name"], model["version"]) == (
        "machine-learning-model", team.name, "reader", "v1",
    )  # fmt: skip
    assert model["hashes"] == [{"alg": "SHA-256", "content": signature_of(version).digest}]
    assert [file["name"] for file in model["components"]] == ["README.md", "model.safetensors", "nested/config.json"]
    assert model["licenses"] == [{"expression": "Apache-2.0"}]
    assert [one["name"] for one in model["pedigree"]["ancestors"]] == ["base", "google/vit-base-patch16-224"]
    assert [one["name"] for one in document["components"]] == ["digits", "mnist"]
    card = model["modelCard"]
    assert card["modelParameters"]["task"] == "image-classification"
    assert card["modelParameters"]["datasets"] == [{"ref": f"datasets:/{team}/digits@v1"}, {"ref": "datasets:/mnist"}]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "accuracy", "value": "0.97", "slice": f"{team}/digits@v1 validation in onnxruntime-cpu"}
    ]


def test_the_same_content_has_the_same_serial_number(version, owner, dataset):
    first, again = of(version, owner), of(version, owner)
    report = EvaluationReport(model="-", dataset="-", runtime="torch-cpu", metrics={"accuracy": 0.98})
    record_evaluation(version=version, dataset=dataset, report=report, job=None)
    assert first == again
    assert of(version, owner)["serialNumber"] != first["serialNumber"]


def test_it_tells_nobody_of_what_they_may_not_see(version, owner, team):
    set_visibility(repository=version.repository, public=True, actor=actor_for_user(owner))
    document = json.dumps(of(version, make_user()))
    assert "digits@" not in document
    assert "0.97" not in document
    assert f'"{team}/base' not in document
    assert "mnist" in document  # the card says so to everybody


@pytest.mark.parametrize(
    ("license_lines", "expected"),
    [
        ("license: [mit, apache-2.0]", [{"license": {"name": "mit"}}, {"license": {"name": "apache-2.0"}}]),
        ("license: openrail", [{"license": {"name": "openrail"}}]),
        ("license: other\nlicense_name: house-rules", [{"license": {"name": "house-rules"}}]),
        ("license: {}", []),
        ("x: 1", []),
    ],
    ids=["two", "unknown", "other", "odd", "none"],
)
def test_any_licence_makes_a_valid_document(license_lines, expected, owner, team):
    card = f"---\n{license_lines}\n---\n".encode()
    version = commit_files(make_repository(team, owner), owner, {"README.md": card})
    assert of(version, owner)["metadata"]["component"]["licenses"] == expected


def test_a_dataset_has_none(dataset, owner):
    with pytest.raises(InvalidInputError, match="is a dataset; a bill of materials is made of a model"):
        of(dataset, owner)


def test_the_api_gives_it(client, version, owner, team):
    token = {"HTTP_AUTHORIZATION": f"Bearer {token_for(owner)}"}
    answer = client.get(f"/api/v1/models/{team}/reader/versions/v1/bom", **token).json()
    assert answer["specVersion"] == "1.6"
    references = {one["type"]: one["url"] for one in answer["metadata"]["component"]["externalReferences"]}
    assert references["distribution"] == f"http://testserver/{team}/reader/tree/v1"
