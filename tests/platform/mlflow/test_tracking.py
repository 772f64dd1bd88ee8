"""Experiments and runs, as MLflow's client asks for them."""

from __future__ import annotations

import pytest
from django.test.utils import CaptureQueriesContext

from steelyard_contracts.jobs import JobState
from steelyard_contracts.tracking import RunRequest
from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import OPERATOR, Role, Scope
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs import series, tracking
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos.models import Repository
from tests.platform.mlflow.conftest import Speaker, pairs
from tests.support.factories import make_repository, make_user, token_for

pytestmark = pytest.mark.django_db


def names(answer):
    return [one["name"] for one in answer["experiments"]]


def test_any_name_is_a_shelf_of_the_own_team_and_is_kept(ada):
    key = ada.experiment("My Experiment (1)", tags=[{"key": "a", "value": "1"}])
    found = ada.get("experiments/get-by-name", experiment_name="My Experiment (1)")["experiment"]
    assert (found["experiment_id"], found["name"], pairs(found["tags"])) == (key, "My Experiment (1)", {"a": "1"})
    assert Repository.objects.get(team__name="ada").name == "My-Experiment-1"
    assert ada.refused("POST", "experiments/create", name="My Experiment (1)")[:2] == (400, "RESOURCE_ALREADY_EXISTS")
    ada.experiment("My Experiment <1>")
    assert Repository.objects.filter(team__name="ada", name="My-Experiment-1-2").exists()


def test_a_name_with_a_slash_is_that_project(ada):
    ada.experiment("lab/digits")
    assert Repository.objects.get().full_name == "lab/digits"
    found = ada.get("experiments/get-by-name", experiment_name="lab/digits")["experiment"]
    assert found["name"] == "lab/digits"
    status, code, said = ada.refused("POST", "experiments/create", name="nowhere/digits")
    assert (status, code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "there is no team 'nowhere'" in said


def test_a_project_whose_runs_came_another_way_is_an_experiment_too(ada):
    actor = actor_for_user(User.objects.get(username="ada"))
    run = tracking.start_run(request=RunRequest(project="lab/plain", config={"lr": 0.1}), actor=actor)
    assert "lab/plain" in names(ada.get("experiments/search"))
    key = ada.get("experiments/get-by-name", experiment_name="lab/plain")["experiment"]["experiment_id"]
    [found] = ada.post("runs/search", experiment_ids=[key])["runs"]
    assert found["info"]["run_id"] == run.pk.hex
    assert pairs(found["data"]["params"]) == {"lr": "0.1"}
    assert ada.post("runs/search", experiment_ids=[key], filter="params.lr = '0.1'")["runs"]


def test_the_default_is_there_from_the_start_and_takes_a_project_with_its_first_run(ada):
    assert names(ada.get("experiments/search")) == ["Default"]
    assert not Repository.objects.exists()
    run = ada.run("0")
    assert run["info"]["experiment_id"] == "0"
    assert Repository.objects.get().full_name == "ada/Default"
    assert len(ada.post("runs/search", experiment_ids=["0"])["runs"]) == 1


def test_experiments_are_searched_sorted_paged_and_hidden(ada):
    for name, tag in (("a", "value"), ("ab", "vaLue"), ("Abc", None)):
        ada.experiment(name, tags=[{"key": "key", "value": tag}] if tag else [])
    search = "experiments/search"
    assert names(ada.post(search, filter="name LIKE 'a%'")) == ["ab", "a"]
    assert names(ada.post(search, filter="tags.key = 'value'")) == ["a"]
    assert names(ada.post(search, filter="tags.key != 'value'")) == ["ab"]
    assert names(ada.post(search, filter="tags.key ILIKE '%alu%'")) == ["ab", "a"]
    assert names(ada.post(search, order_by=["name ASC"]))[0] in {"Abc", "a"}
    first = ada.post(search, max_results=3)
    second = ada.post(search, max_results=3, page_token=first["next_page_token"])
    assert sorted(names(first) + names(second)) == ["Abc", "Default", "a", "ab"]
    assert "next_page_token" not in second
    key = ada.get("experiments/get-by-name", experiment_name="ab")["experiment"]["experiment_id"]
    ada.post("experiments/delete", experiment_id=key)
    assert "ab" not in names(ada.post(search))
    assert names(ada.post(search, view_type="DELETED_ONLY")) == ["ab"]
    assert ada.refused("POST", "runs/create", experiment_id=key)[1] == "RESOURCE_CONFLICT"
    ada.post("experiments/restore", experiment_id=key)
    assert "ab" in names(ada.post(search))


def test_a_stranger_sees_nothing_and_cannot_tell(ada, eve, run):
    run_id, key = run["info"]["run_id"], run["info"]["experiment_id"]
    assert names(eve.get("experiments/search")) == ["Default"]
    assert eve.refused("GET", "experiments/get", experiment_id=key)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert eve.refused("GET", "runs/get", run_id=run_id)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert eve.refused("POST", "runs/log-metric", run_id=run_id, key="a", value=1, timestamp=1)[0] == 404
    assert eve.post("runs/search", experiment_ids=[key])["runs"] == []


def test_without_a_token_or_with_one_that_expired_nothing_is_answered(client, ada):
    nobody, wrong = Speaker(client, "", "nobody"), Speaker(client, "sy_wrong", "nobody")
    assert nobody.refused("GET", "experiments/search")[:2] == (401, "UNAUTHENTICATED")
    assert wrong.refused("GET", "experiments/search")[:2] == (401, "UNAUTHENTICATED")
    reader = Speaker(client, token_for(User.objects.get(username="ada"), Scope.READ), "ada")
    status, code, said = reader.refused("POST", "experiments/create", name="x")
    assert (status, code) == (403, "PERMISSION_DENIED")
    assert "the token's scope is read" in said


def test_a_run_is_a_job_of_ours(ada):
    tags = [{"key": "mlflow.user", "value": "ada"}, {"key": "mlflow.source.git.commit", "value": "abc"}]
    made = ada.run(ada.experiment("lab/digits"), run_name="first", tags=tags)
    run_id = made["info"]["run_id"]
    assert made["info"]["status"] == "RUNNING"
    assert made["info"]["user_id"] == "ada"
    assert made["info"]["start_time"] == 1_700_000_000_000
    assert pairs(made["data"]["tags"])["mlflow.runName"] == "first"
    job = Job.objects.select_related("run__project__team").get()
    assert (job.pk.hex, job.kind, job.state) == (run_id, "run", JobState.RUNNING)
    assert job.run.project is not None
    assert job.run.git is not None
    assert (job.run.name, job.run.project.full_name, job.run.source) == ("first", "lab/digits", "mlflow")
    assert job.run.git["commit"] == "abc"
    ended = ada.post("runs/update", run_id=run_id, status="FINISHED", end_time=1_700_000_060_000)["run_info"]
    assert (ended["status"], ended["end_time"]) == ("FINISHED", 1_700_000_060_000)
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    assert ada.post("runs/update", run_id=run_id, status="RUNNING")["run_info"]["status"] == "RUNNING"
    assert ada.post("runs/update", run_id=run_id, status="KILLED")["run_info"]["status"] == "KILLED"


def test_two_runs_of_one_name_are_two_runs_and_keep_the_name_that_they_were_given(ada):
    key = ada.experiment("digits")
    first, second = ada.run(key, run_name="same"), ada.run(key, run_name="same")
    assert first["info"]["run_id"] != second["info"]["run_id"]
    assert first["info"]["run_name"] == second["info"]["run_name"] == "same"
    assert set(Job.objects.values_list("run__name", flat=True)) == {"same", "same-2"}


def test_points_go_into_the_series_of_the_run(ada, run):
    run_id = run["info"]["run_id"]
    ada.post("runs/log-metric", run_id=run_id, key="loss", value=0.5, timestamp=789, step=2)
    ada.post("runs/log-metric", run_id=run_id, key="loss", value="NaN", timestamp=790, step=3)
    ada.post("runs/log-metric", run_id=run_id, key="up", value="Infinity", timestamp=1)
    data = ada.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]
    assert {one["key"]: (one["value"], one["step"]) for one in data} == {"loss": ("NaN", 3), "up": ("Infinity", 0)}
    history = ada.get("metrics/get-history", run_id=run_id, metric_key="loss")["metrics"]
    assert [(one["value"], one["step"], one["timestamp"]) for one in history] == [(0.5, 2, 789), ("NaN", 3, 790)]
    assert [point.step for point in series.read_points(Job.objects.get().pk, "loss")] == [2, 3]


def test_a_history_comes_in_pages(ada, run):
    run_id = run["info"]["run_id"]
    metrics = [{"key": "m", "value": step, "timestamp": 1, "step": step} for step in range(10)]
    ada.post("runs/log-batch", run_id=run_id, metrics=metrics)
    asked, seen = {"run_id": run_id, "metric_key": "m", "max_results": 4}, []
    page = ada.get("metrics/get-history", **asked)
    while True:
        seen += [one["step"] for one in page["metrics"]]
        if "next_page_token" not in page:
            break
        page = ada.get("metrics/get-history", **asked, page_token=page["next_page_token"])
    assert seen == list(range(10))
    assert ada.refused("GET", "metrics/get-history", **asked, page_token="x!")[1] == "INVALID_PARAMETER_VALUE"


def test_a_metric_keeps_the_name_it_was_given(ada, run):
    run_id = run["info"]["run_id"]
    ada.post("runs/log-metric", run_id=run_id, key="mAP50(B)\nß", value=1, timestamp=1)
    [found] = ada.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]
    assert found["key"] == "mAP50(B)\nß"
    assert ada.get("metrics/get-history", run_id=run_id, metric_key="mAP50(B)\nß")["metrics"]


def test_a_batch_is_kept_whole_or_not_at_all(ada, run):
    run_id = run["info"]["run_id"]
    ada.post("runs/log-parameter", run_id=run_id, key="lr", value="0.1")
    metric = {"key": "loss", "value": 1, "timestamp": 1}
    status, code, said = ada.refused(
        "POST",
        "runs/log-batch",
        run_id=run_id,
        metrics=[metric],
        params=[{"key": "new", "value": "1"}, {"key": "lr", "value": "0.2"}],
        tags=[{"key": "t", "value": "x"}],
    )
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert "'lr' was already logged with the value '0.1'" in said
    data = ada.get("runs/get", run_id=run_id)["run"]["data"]
    assert pairs(data["params"]) == {"lr": "0.1"}
    assert data["metrics"] == []
    ada.post("runs/log-batch", run_id=run_id, metrics=[metric], params=[{"key": "lr", "value": "0.1"}])
    ada.post("runs/log-batch", run_id=run_id, metrics=[metric], tags=[{"key": "t", "value": ""}])
    data = ada.get("runs/get", run_id=run_id)["run"]["data"]
    assert pairs(data["tags"])["t"] == ""
    assert len(data["metrics"]) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"run_id": 31, "key": "a", "value": 1, "timestamp": 1}, "Invalid value 31 for parameter 'run_id' supplied"),
        ({"key": "a", "value": 1, "timestamp": 1}, "Missing value for required parameter 'run_id'"),
        ({"run_id": "x", "value": 1, "timestamp": 1}, "Missing value for required parameter 'key'"),
        ({"run_id": "x", "key": "a", "value": "much", "timestamp": 1}, "Invalid value \"much\" for parameter 'value'"),
    ],
)
def test_a_request_that_cannot_be_meant_names_the_field(ada, body, said):
    status, code, message = ada.refused("POST", "runs/log-metric", **body)
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert said in message


def test_steps_before_the_first_and_broken_bodies_are_refused(ada, run):
    run_id = run["info"]["run_id"]
    body = {"run_id": run_id, "key": "a", "value": 1, "timestamp": 1, "step": -1}
    assert "Steps are counted from 0" in ada.refused("POST", "runs/log-metric", **body)[2]
    answer = ada.send("POST", "runs/log-metric", b"{")
    assert (answer.status_code, answer.json()["message"]) == (400, "The request's body is not JSON.")
    assert ada.refused("GET", "runs/log-metric")[0] == 400
    assert ada.refused("POST", "runs/teleport")[:2] == (404, "ENDPOINT_NOT_FOUND")


def test_a_tag_and_a_run_are_taken_away_and_a_run_comes_back(ada, run):
    run_id, key = run["info"]["run_id"], run["info"]["experiment_id"]
    ada.post("runs/set-tag", run_id=run_id, key="t", value="x")
    ada.post("runs/delete-tag", run_id=run_id, key="t")
    assert ada.refused("POST", "runs/delete-tag", run_id=run_id, key="t")[2].startswith("No tag with name: t")
    ada.post("runs/delete", run_id=run_id)
    assert ada.post("runs/search", experiment_ids=[key])["runs"] == []
    assert len(ada.post("runs/search", experiment_ids=[key], run_view_type="DELETED_ONLY")["runs"]) == 1
    assert "must be in the 'active' state" in ada.refused("POST", "runs/set-tag", run_id=run_id, key="t", value="x")[2]
    ada.post("runs/restore", run_id=run_id)
    assert len(ada.post("runs/search", experiment_ids=[key])["runs"]) == 1


def found_names(answer):
    return [one["info"]["run_name"] for one in answer["runs"]]


@pytest.fixture
def three(ada):
    """Runs with an accuracy of 0.1, 0.5 and 0.9; the last has finished."""
    key = ada.experiment("three")
    for number, accuracy in enumerate((0.1, 0.5, 0.9)):
        run_id = ada.run(key, run_name=f"r{number}")["info"]["run_id"]
        ada.post(
            "runs/log-batch",
            run_id=run_id,
            metrics=[{"key": "val acc", "value": accuracy, "timestamp": 1}],
            params=[{"key": "lr.rate", "value": f"0.{number}"}],
            tags=[{"key": "0", "value": f"t{number}"}],
        )
    ada.post("runs/update", run_id=run_id, status="FINISHED")
    return key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.`val acc` > 0.3", ["r1", "r2"]),
        ("metrics.`val acc` > 0.3 AND params.lr.rate = '0.1'", ["r1"]),
        ("metrics.other > 0", []),
        ("tags.`0` LIKE 't%' AND tags.`0` != 't1'", ["r0", "r2"]),
        ("attributes.status = 'FINISHED'", ["r2"]),
        ("status != 'FINISHED'", ["r0", "r1"]),
        ("run_name ILIKE 'R_'", ["r0", "r1", "r2"]),
        ("params.lr.rate IN ('0.0', '0.2')", ["r0", "r2"]),
        ("params.missing IS NULL", ["r0", "r1", "r2"]),
        ("start_time = 1700000000000", ["r0", "r1", "r2"]),
        ("start_time > 1700000000000", []),
    ],
)
def test_runs_are_found_by_what_they_measured_and_said(ada, three, text, expected):
    assert sorted(found_names(ada.post("runs/search", experiment_ids=[three], filter=text))) == expected


def test_runs_come_in_the_order_asked_for_and_in_pages(ada, three):
    ordered = {"experiment_ids": [three], "order_by": ["metrics.`val acc` DESC"], "max_results": 2}
    first = ada.post("runs/search", **ordered)
    second = ada.post("runs/search", **ordered, page_token=first["next_page_token"])
    assert found_names(first) + found_names(second) == ["r2", "r1", "r0"]
    assert "next_page_token" not in second
    by_name = ada.post("runs/search", experiment_ids=[three], order_by=["run_name ASC"])
    assert found_names(by_name) == ["r0", "r1", "r2"]
    assert ada.refused("POST", "runs/search", experiment_ids=[three], max_results=123456789)[1] == (
        "INVALID_PARAMETER_VALUE"
    )


def test_a_page_of_runs_costs_no_question_for_each(ada, three):
    from django.db import connection

    def questions(limit):
        with CaptureQueriesContext(
            connection,
        ) as asked:
            ada.post("runs/search", experiment_ids=[three], max_results=limit)
        return len(asked)

    questions(1)
    assert questions(3) == questions(1)


def test_what_a_run_has_read_and_made_is_kept(ada, run):
    run_id = run["info"]["run_id"]
    dataset = {"name": "d", "digest": "x1", "source_type": "local", "source": "{}"}
    told = {"datasets": [{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "train"}]}]}
    for _ in range(2):
        ada.post("runs/log-inputs", run_id=run_id, **told, models=[{"model_id": "m-1"}])
    ada.post("runs/outputs", run_id=run_id, models=[{"model_id": "m-2", "step": 4}])
    found = ada.get("runs/get", run_id=run_id)["run"]
    assert found["inputs"] == {"dataset_inputs": told["datasets"], "model_inputs": [{"model_id": "m-1"}]}
    assert found["outputs"] == {"model_outputs": [{"model_id": "m-2", "step": 4}]}
    key = run["info"]["experiment_id"]
    for text in ("datasets.name = 'd'", "dataset.digest = 'x1'", "dataset.context = 'train'"):
        assert ada.post("runs/search", experiment_ids=[key], filter=text)["runs"], text
    assert not ada.post("runs/search", experiment_ids=[key], filter="datasets.name = 'other'")["runs"]


def test_a_member_who_may_only_read_reads_and_does_not_write(client, ada):
    run_id = ada.run(ada.experiment("lab/digits"))["info"]["run_id"]
    bob = Speaker(client, token_for(make_user("bob")), "bob")
    set_role(team=Team.objects.get(name="lab"), username="bob", role=Role.READER, actor=OPERATOR)
    assert bob.get("runs/get", run_id=run_id)["run"]["info"]["run_id"] == run_id
    assert bob.refused("POST", "runs/set-tag", run_id=run_id, key="a", value="b")[:2] == (403, "PERMISSION_DENIED")
    assert bob.refused("POST", "runs/delete", run_id=run_id)[0] == 403


def test_a_deleted_project_takes_its_runs_along(ada, run):
    owner = User.objects.get(username="ada")
    from steelyard_platform.repos.services import delete_repository

    delete_repository(repository=Repository.objects.get(), actor=actor_for_user(owner))
    assert ada.refused("GET", "runs/get", run_id=run["info"]["run_id"])[1] == "RESOURCE_DOES_NOT_EXIST"
    assert names(ada.get("experiments/search")) == ["Default"]
    assert ada.experiment("digits") != run["info"]["experiment_id"]


def test_the_client_asks_whether_somebody_is_there(client):
    assert client.get("/mlflow/health").content == b"OK"
    assert client.get("/mlflow/version").content.decode().startswith("3.")


def test_asking_for_a_repository_by_its_name_makes_no_experiment_of_it(client, ada):
    make_repository(Team.objects.get(name="lab"), User.objects.get(username="ada"), "pushed")
    assert ada.refused("GET", "experiments/get-by-name", experiment_name="lab/pushed")[0] == 404
    assert "lab/pushed" not in str(ada.post("experiments/search", max_results=100))
    assert ada.experiment("lab/pushed")


def test_an_address_that_a_client_prints_of_a_model_leads_to_its_version(client, ada, eve):
    ada.post("registered-models/create", name="lab/net")
    address = "/mlflow/models/lab.net/versions/1"
    assert client.get(address).headers["Location"] == f"/login?next={address}"
    client.force_login(User.objects.get(username="ada"))
    assert client.get(address).headers["Location"] == "/lab/net/versions/v1"
    assert client.get("/mlflow/models/lab%2Fnet").headers["Location"] == "/lab/net"
    client.force_login(User.objects.get(username="eve"))
    assert client.get(address).status_code == 404


def test_an_address_that_a_client_prints_of_an_experiment_leads_to_its_runs(client, ada, eve):
    key = ada.experiment("lab/digits")
    client.force_login(User.objects.get(username="ada"))
    assert client.get(f"/mlflow/experiments/{key}").headers["Location"] == "/lab/digits/runs"
    client.force_login(User.objects.get(username="eve"))
    for hidden in (key, "999", "x"):
        assert client.get(f"/mlflow/experiments/{hidden}").status_code == 404
    assert client.get("/mlflow/experiments/0").headers["Location"] == "/models"  # nothing was logged into it yet
    client.logout()
    assert client.get(f"/mlflow/experiments/{key}").headers["Location"] == f"/login?next=/mlflow/experiments/{key}"
