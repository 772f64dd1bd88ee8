"""Registered models, versions and aliases: ours, by MLflow's names."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from steelyard_contracts.weights import Finding, Severity
from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import OPERATOR, Role
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Alias, AliasMove, Repository, Version
from steelyard_platform.repos.services import protect_alias
from steelyard_platform.weights.models import WeightFile
from steelyard_platform.weights.services import add_gate
from tests.platform.mlflow.conftest import Speaker, content, pairs
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db


def versions(answer):
    return [(one["name"], one["version"]) for one in answer["model_versions"]]


def models(answer):
    return [one["name"] for one in answer["registered_models"]]


def logged(speaker, files, experiment="lab/digits"):
    """A logged model with these files; its id."""
    found = speaker.send("GET", "experiments/get-by-name", experiment_name=experiment)
    key = found.json()["experiment"]["experiment_id"] if found.status_code == 200 else speaker.experiment(experiment)
    info = speaker.post("logged-models", experiment_id=key)["model"]["info"]
    for path, data in files.items():
        assert speaker.put(info["artifact_uri"], path, data).status_code == 200
    speaker.call("PATCH", f"logged-models/{info['model_id']}", status="LOGGED_MODEL_READY")
    return info["model_id"]


def registered(speaker, name, files=None, **more):
    model_id = logged(speaker, files or {"MLmodel": b"x", "data/model.pth": b"weights"})
    speaker.send("POST", "registered-models/create", {"name": name})
    body = {"name": name, "source": f"models:/{model_id}", "model_id": model_id, **more}
    return speaker.post("model-versions/create", **body)["model_version"]


def owner():
    return User.objects.get(username="ada")


@pytest.fixture
def member(client, ada):
    """A contributor of lab."""
    bob = Speaker(client, token_for(make_user("bob")), "bob")
    set_role(team=Team.objects.get(name="lab"), username="bob", role=Role.CONTRIBUTOR, actor=OPERATOR)
    return bob


def test_a_registered_model_is_a_repository(ada):
    made = ada.post("registered-models/create", name="My Model", description="d", tags=[{"key": "k", "value": "v"}])[
        "registered_model"
    ]
    assert (made["name"], made["description"], pairs(made["tags"])) == ("My Model", "d", {"k": "v"})
    assert Repository.objects.get().full_name == "ada/My-Model"
    assert ada.get("registered-models/get", name="My Model")["registered_model"]["name"] == "My Model"
    status, code, said = ada.refused("POST", "registered-models/create", name="My Model")
    assert (status, code, said) == (400, "RESOURCE_ALREADY_EXISTS", "Registered Model (name=My Model) already exists.")
    ada.post("registered-models/create", name="lab/reader")
    assert ada.get("registered-models/get", name="lab.reader")["registered_model"]["name"] == "lab.reader"
    assert models(ada.get("registered-models/search")) == ["My Model", "lab/reader"]


def test_a_project_without_a_version_is_no_registered_model_until_somebody_says_so(ada):
    ada.experiment("iris")
    assert models(ada.get("registered-models/search")) == []
    ada.post("registered-models/create", name="iris")
    assert models(ada.get("registered-models/search")) == ["iris"]
    assert Repository.objects.count() == 1


def test_a_repository_that_was_pushed_is_a_registered_model(ada):
    repository = make_repository(Team.objects.get(name="lab"), owner(), "pushed")
    commit_files(repository, owner(), {"model.safetensors": b"x"})
    assert models(ada.get("registered-models/search")) == ["lab/pushed"]
    found = ada.get("model-versions/get", name="lab/pushed", version="1")["model_version"]
    uri = ada.get("model-versions/get-download-uri", name="lab/pushed", version="1")["artifact_uri"]
    assert (found["source"], found["current_stage"], found["status"]) == (uri, "None", "READY")
    assert content(ada.read(uri, "model.safetensors")) == b"x"


def test_what_was_logged_becomes_a_version_without_being_copied(ada):
    made = registered(ada, "lab/reader", run_id="r1", description="first", tags=[{"key": "a", "value": "b"}])
    assert (made["version"], made["run_id"], made["description"], pairs(made["tags"])) == (
        "1", "r1", "first", {"a": "b"},
    )  # fmt: skip
    version = Version.objects.get()
    assert version.repository.full_name == "lab/reader"
    files = dict(tree.entries_at(version).values_list("path", "blob__size"))
    assert files == {"MLmodel": 1, "data/model.pth": 7}
    uri = ada.get("model-versions/get-download-uri", name="lab/reader", version="1")["artifact_uri"]
    assert content(ada.read(uri, "data/model.pth")) == b"weights"
    assert ada.put(uri, "more.txt", b"x").status_code == 403
    second = registered(ada, "lab/reader", {"MLmodel": b"y"})
    assert second["version"] == "2"
    assert set(tree.entries_at(Version.objects.get(number=2)).values_list("path", flat=True)) == {"MLmodel"}
    model = ada.get(f"logged-models/{second['model_id']}")["model"]
    assert pairs(model["info"]["tags"])["mlflow.modelVersions"] == '[{"name": "lab/reader", "version": 2}]'


def test_what_is_said_of_it_is_on_our_pages(client, ada):
    registered(ada, "lab/reader", description="reads <b>well</b>", tags=[{"key": "data", "value": "autumn"}])
    ada.call("PATCH", "registered-models/update", name="lab/reader", description="of the lab")
    client.force_login(owner())
    page = client.get("/lab/reader/versions/v1").content.decode()
    assert "<h2>From MLflow</h2>" in page
    assert "reads &lt;b&gt;well&lt;/b&gt;" in page
    assert "<dt>data</dt><dd>autumn</dd>" in page
    assert "of the lab" in client.get("/lab/reader").content.decode()


def test_the_same_again_is_a_version_of_its_own(ada):
    made = registered(ada, "reader")
    again = ada.post("model-versions/create", name="reader", source=made["source"])["model_version"]
    assert (again["version"], Version.objects.count()) == ("2", 2)


def test_a_version_of_a_run_in_its_own_project_is_the_runs(ada):
    key = ada.experiment("lab/digits")
    run = ada.run(key)["info"]
    ada.put(run["artifact_uri"], "model/MLmodel", b"x")
    source = f"runs:/{run['run_id']}/model"
    made = ada.post("model-versions/create", name="lab/digits", source=source, run_id=run["run_id"])["model_version"]
    assert (made["version"], made["source"]) == ("1", source)
    assert Job.objects.get().result["version"] == "lab/digits@v1"
    assert Version.objects.get().job == Job.objects.get().pk


def test_a_source_that_is_elsewhere_is_remembered(ada):
    ada.post("registered-models/create", name="far")
    made = ada.post("model-versions/create", name="far", source="s3://mine/model", run_id="run_id_1")["model_version"]
    assert made["version"] == "1"
    uri = ada.get("model-versions/get-download-uri", name="far", version="1")["artifact_uri"]
    assert uri == "s3://mine/model"
    assert versions(ada.get("model-versions/search", filter="source_path = 's3://mine/model'")) == [("far", "1")]


def test_nobody_registers_what_they_may_not_read(ada, eve):
    model_id = logged(ada, {"MLmodel": b"x"})
    eve.post("registered-models/create", name="stolen")
    body = {"name": "stolen", "source": f"models:/{model_id}"}
    assert eve.refused("POST", "model-versions/create", **body)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    made = eve.post("model-versions/create", name="stolen", source="s3://x", model_id=model_id)["model_version"]
    assert Version.objects.get(repository__team__name="eve").file_count == 0
    assert made["version"] == "1"
    assert eve.refused("POST", "model-versions/create", name="lab/reader", source="s3://x")[0] == 404


def test_an_alias_is_one_and_the_same_everywhere(ada):
    registered(ada, "reader")
    registered(ada, "reader")
    ada.post("registered-models/alias", name="reader", alias="production", version="2")
    assert Alias.objects.get().version.number == 2
    assert AliasMove.objects.get().actor == "ada"
    found = ada.get("registered-models/alias", name="reader", alias="production")["model_version"]
    assert (found["version"], found["aliases"]) == ("2", ["production"])
    model = ada.get("registered-models/get", name="reader")["registered_model"]
    assert model["aliases"] == [{"alias": "production", "version": "2"}]
    ada.call("DELETE", "registered-models/alias", name="reader", alias="production")
    assert not Alias.objects.exists()
    said = ada.refused("GET", "registered-models/alias", name="reader", alias="production")
    assert said[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_protected_alias_and_a_gate_hold_here_too(ada, member):
    registered(ada, "lab/reader")
    repository = Repository.objects.get(name="reader")
    actor = actor_for_user(owner())
    move = {"name": "lab/reader", "alias": "production", "version": "1"}
    add_gate(repository=repository, text="size <= 1", applies_to="production", actor=actor)
    status, code, said = ada.refused("POST", "registered-models/alias", **move)
    assert (status, code) == (409, "RESOURCE_CONFLICT")
    assert "size" in said
    ada.post("registered-models/alias", **{**move, "alias": "best"})
    protect_alias(repository=repository, name="best", protected=True, actor=actor)
    assert member.refused("POST", "registered-models/alias", **{**move, "alias": "best"})[1] == "PERMISSION_DENIED"
    assert member.refused("DELETE", "registered-models/alias", name="lab/reader", alias="best")[0] == 403


def test_a_version_under_an_alias_is_not_deleted_and_another_is(ada):
    registered(ada, "reader")
    registered(ada, "reader")
    ada.post("registered-models/alias", name="reader", alias="production", version="1")
    status, code, said = ada.refused("DELETE", "model-versions/delete", name="reader", version="1")
    assert (status, code) == (409, "RESOURCE_CONFLICT")
    assert "the alias 'production' stands on v1" in said
    ada.call("DELETE", "model-versions/delete", name="reader", version="2")
    said = ada.refused("GET", "model-versions/get", name="reader", version="2")[2]
    assert said == "Model Version (name=reader, version=2) not found."
    assert registered(ada, "reader")["version"] == "3"


def test_a_model_that_is_a_project_of_runs_is_not_deleted_unawares(ada):
    ada.run(ada.experiment("lab/digits"))
    registered(ada, "lab/digits")
    status, code, said = ada.refused("DELETE", "registered-models/delete", name="lab/digits")
    assert (status, code) == (409, "RESOURCE_CONFLICT")
    assert "the project of 1 runs" in said


def test_stages_are_answered(ada):
    for _ in range(3):
        registered(ada, "reader")
    stage = "model-versions/transition-stage"
    ada.post(stage, name="reader", version="1", stage="production")
    ada.post(stage, name="reader", version="2", stage="Production", archive_existing_versions=True)
    found = ada.get("registered-models/get", name="reader")["registered_model"]["latest_versions"]
    assert {(one["current_stage"], one["version"]) for one in found} == {
        ("Archived", "1"), ("Production", "2"), ("None", "3"),
    }  # fmt: skip
    latest = ada.post("registered-models/get-latest-versions", name="reader", stages=["Production"])
    assert versions(latest) == [("reader", "2")]
    assert "Invalid Model Version stage" in ada.refused("POST", stage, name="reader", version="1", stage="Space")[2]


def test_models_and_versions_are_renamed_described_tagged_and_deleted(ada):
    registered(ada, "reader")
    ada.call("PATCH", "registered-models/update", name="reader", description="about")
    ada.post("registered-models/set-tag", name="reader", key="k", value="")
    ada.post("registered-models/rename", name="reader", new_name="Reader 2")
    found = ada.get("registered-models/get", name="Reader 2")["registered_model"]
    assert (found["description"], pairs(found["tags"])) == ("about", {"k": ""})
    assert Repository.objects.filter(name="Reader-2").exists()
    assert ada.refused("GET", "registered-models/get", name="reader")[1] == "RESOURCE_DOES_NOT_EXIST"
    ada.call("DELETE", "registered-models/delete-tag", name="Reader 2", key="k")
    ada.call("PATCH", "model-versions/update", name="Reader 2", version=1, description="one")
    ada.post("model-versions/set-tag", name="Reader 2", version="1", key="k", value="v")
    one = ada.get("model-versions/get", name="Reader 2", version="1")["model_version"]
    assert (one["description"], pairs(one["tags"])) == ("one", {"k": "v"})
    ada.call("DELETE", "model-versions/delete-tag", name="Reader 2", version="1", key="k")
    said = ada.refused("GET", "model-versions/get", name="Reader 2", version="one")[2]
    assert said == "Parameter 'version' must be an integer, got 'one'."
    ada.call("DELETE", "registered-models/delete", name="Reader 2")
    assert ada.refused("GET", "registered-models/get", name="Reader 2")[0] == 404
    ada.post("registered-models/create", name="Reader 2")


def test_models_and_versions_are_searched(ada):
    for number in range(3):
        registered(ada, f"m{number}", tags=[{"key": "n", "value": str(number)}], run_id=f"r{number}")
    ada.post("registered-models/set-tag", name="m1", key="team", value="red")
    search = "registered-models/search"
    assert models(ada.get(search, filter="name LIKE 'm%'", max_results=2)) == ["m0", "m1"]
    token = ada.get(search, filter="name LIKE 'm%'", max_results=2)["next_page_token"]
    assert models(ada.get(search, filter="name LIKE 'm%'", max_results=2, page_token=token)) == ["m2"]
    assert models(ada.get(search, filter="tags.team = 'red'")) == ["m1"]
    assert models(ada.get(search, filter="name LIKE 'm%' AND tag.`mlflow.prompt.is_prompt` != 'true'")) == [
        "m0",
        "m1",
        "m2",
    ]
    assert models(ada.get(search, filter="name LIKE 'M%'")) == []
    assert models(ada.get(search, filter="name ILIKE 'M%'", order_by="name DESC")) == ["m2", "m1", "m0"]
    search = "model-versions/search"
    assert versions(ada.get(search, filter="name = 'm1'")) == [("m1", "1")]
    assert versions(ada.get(search, filter="run_id IN ('r0', 'r2')", order_by="name ASC")) == [("m0", "1"), ("m2", "1")]
    assert versions(ada.get(search, filter="tags.n = '2' AND version_number = 1")) == [("m2", "1")]
    assert versions(ada.get(search, max_results=1)) == [("m2", "1")]


def test_a_page_of_models_costs_no_question_for_each(ada):
    for number in range(4):
        registered(ada, f"m{number}")

    def questions(path, limit):
        with CaptureQueriesContext(connection) as asked:
            ada.get(path, max_results=limit)
        return len(asked)

    for path in ("registered-models/search", "model-versions/search"):
        questions(path, 1)
        assert questions(path, 4) == questions(path, 1), path


def test_a_version_is_copied_to_another_model(ada):
    registered(ada, "reader")
    ada.post("registered-models/create", name="copy")
    made = ada.post("model-versions/create", name="copy", source="models:/reader/1")["model_version"]
    uri = ada.get("model-versions/get-download-uri", name="copy", version="1")["artifact_uri"]
    assert content(ada.read(uri, "data/model.pth")) == b"weights"
    assert made["source"] == "models:/reader/1"


def endangered(path="data/model.pth"):
    [entry] = [one for one in tree.entries_at(Version.objects.get()) if one.path == path]
    finding = Finding(code="pickle-import", severity=Severity.DANGER, sentence="It imports os.system.")
    report = {"format": "pickle", "findings": [finding.model_dump(mode="json")], "has_danger": True}
    assert entry.blob is not None
    WeightFile.objects.create(blob=entry.blob, **report)


def test_a_dangerous_version_goes_out_to_those_who_may_write_and_to_nobody_else(client, ada, member):
    registered(ada, "lab/reader")
    endangered()
    uri = ada.get("model-versions/get-download-uri", name="lab/reader", version="1")["artifact_uri"]
    assert content(ada.read(uri, "data/model.pth")) == b"weights"
    assert content(member.read(uri, "data/model.pth")) == b"weights"
    carl = Speaker(client, token_for(make_user("carl")), "carl")
    set_role(team=Team.objects.get(name="lab"), username="carl", role=Role.READER, actor=OPERATOR)
    refused = carl.read(uri, "data/model.pth")
    assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert "is in quarantine" in refused.json()["message"]


def test_a_dangerous_version_that_was_pushed_goes_out_to_nobody(ada):
    repository = make_repository(Team.objects.get(name="lab"), owner(), "pushed")
    commit_files(repository, owner(), {"data/model.pth": b"weights"})
    endangered()
    uri = ada.get("model-versions/get-download-uri", name="lab/pushed", version="1")["artifact_uri"]
    assert ada.read(uri, "data/model.pth").status_code == 403
    ada.post("registered-models/create", name="copy")
    assert ada.refused("POST", "model-versions/create", name="copy", source=uri)[1] == "PERMISSION_DENIED"
