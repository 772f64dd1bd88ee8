"""A run's weights: on their way in, as versions, and out again to whoever may start from them."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.errors import QuarantinedError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.weights import FileReport, Finding, Severity
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Role, Scope
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.services import cancel_job
from steelyard_platform.repos import tree
from steelyard_platform.repos.blobs import blob_bytes
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.revisions import Snapshot, resolve
from steelyard_platform.weights.models import Evaluation, LineageEdge, WeightFile
from steelyard_platform.weights.quarantine import check_download
from steelyard_platform.weights.services import promote_version
from tests.support.factories import make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db
WEIGHTS = b"PK\x03\x04 weights of a run"
NETWORK = [
    "torch.nn.modules.conv.Conv2d",
    "torchvision.transforms.functional.InterpolationMode",
    "torchvision.transforms.transforms.Compose",
    "ultralytics.nn.tasks.DetectionModel",
]


def content(version, path):
    blob = tree.entry_at(version, path).blob
    assert blob is not None
    return blob_bytes(blob, limit=10_000_000)


def fetch(training, path):
    """What the client has in the end, and the name that it gives it."""
    asked = training.ask(path)
    assert asked.status_code == 302, asked.content
    address = asked.headers["Location"]
    response = training.client.get(address.removeprefix("http://testserver"))
    assert response.status_code == 200, response.content
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return body, address.partition("?")[0].rpartition("/")[2]


def find_danger(version, imports, path="best.pt"):
    """What the scan would find."""
    finding = Finding(severity=Severity.DANGER, code="pickle-import", sentence="It imports.", imports=imports)
    blob = tree.entry_at(version, path).blob
    values = {"format": "torch", "findings": [finding.model_dump()], "has_danger": True}
    WeightFile.objects.update_or_create(blob=blob, defaults=values)


@pytest.fixture
def finished(training):
    """A run that ended well, with its version."""
    training.start()
    training.epoch(0)
    training.complete(training.upload(WEIGHTS))
    return resolve(training.run.run.project).version


def test_what_torch_has_not_saved_measures_nothing_and_is_not_converted(training, owner, team):
    picture_dataset(make_repository(team, owner, "cats", RepositoryKind.DATASET), owner)
    training.start(data=f"ul://{team}/datasets/cats")
    training.complete(training.upload(b"<html>Sign in</html>"))
    run = training.run
    assert run.state == JobState.SUCCEEDED
    assert "none that torch saved" in run.result["warning"]
    assert content(resolve(run.run.project).version, "best.pt") == b"<html>Sign in</html>"
    assert not Evaluation.objects.exists()
    assert not Job.objects.filter(kind="convert").exists()


def test_a_checkpoint_is_a_version_of_the_runs_own_branch(training):
    training.start()
    training.upload(b"half-way", "last.pt")
    run = training.run
    version = resolve(run.run.project, "runs/exp1").version
    assert content(version, "last.pt") == b"half-way"
    assert version is not None
    assert (version.job, run.result["version"]) == (run.pk, f"{run.run.project.full_name}@v1")
    assert resolve(run.run.project).version is None


def test_a_run_that_ends_well_becomes_a_version_of_main(training, finished):
    run = training.run
    assert (run.state, run.result["map50"], run.result["classes"]) == (JobState.SUCCEEDED, 0.5, ["cat", "dog"])
    assert run.result["version"] == f"{run.run.project.full_name}@{finished.label}"
    assert content(finished, "best.pt") == WEIGHTS
    assert json.loads(content(finished, "plots.json"))[0]["type"] == "pr_curve"
    card = content(finished, "README.md").decode()
    assert "pipeline_tag: object-detection" in card
    assert "- map50: 0.5" in card
    assert Job.objects.filter(kind="convert").count() == 1


def test_an_end_that_is_delivered_twice_commits_once(training):
    training.start()
    path = training.upload(b"weights")
    assert training.complete(path).status_code == 200
    before = Version.objects.count()
    assert training.complete(path).status_code == 200
    assert Version.objects.count() == before


def test_an_end_whose_answer_was_lost_half_way_commits_once(training, finished):
    Job.objects.filter(pk=training.run_id).update(state=JobState.RUNNING)
    before = Version.objects.count()
    assert training.complete(None).status_code == 200
    assert Version.objects.count() == before
    assert training.run.state == JobState.SUCCEEDED


def test_a_file_that_is_put_twice_is_one_version(training):
    training.start()
    body = {"project": training.project, "name": "exp1", "filename": "best.pt", "modelId": training.run_id}
    address = training.post("models/upload", body).json()["uploadUrl"]
    assert [training.put(address, b"the same").status_code for _ in range(2)] == [200, 200]
    assert Version.objects.count() == 1


def test_the_file_that_the_end_names_counts_whatever_came_after_it(training):
    training.start()
    path = training.upload(b"the best")
    training.upload(b"an older one that was slow", "last.pt")
    training.complete(path)
    assert content(resolve(training.run.run.project).version, "best.pt") == b"the best"


def test_what_a_cancelled_run_saved_stays_on_its_branch(training, owner):
    training.start()
    path = training.upload(b"partial")
    cancel_job(job=training.run, actor=actor_for_user(owner))
    training.complete(path)
    assert training.run.state == JobState.CANCELLED
    assert resolve(training.run.run.project).version is None
    assert fetch(training, f"models/{training.project}/exp1/download")[0] == b"partial"


@pytest.mark.parametrize(("filename", "status"), [("best.onnx", 400), ("../../etc/passwd", 400), ("", 400)])
def test_only_weights_are_taken(training, filename, status):
    training.start()
    body = {"project": training.project, "name": "exp1", "filename": filename, "modelId": training.run_id}
    assert training.post("models/upload", body).status_code == status


def test_an_address_that_was_changed_takes_nothing(training):
    training.start()
    body = {"project": training.project, "name": "exp1", "filename": "best.pt", "modelId": training.run_id}
    address = training.post("models/upload", body).json()["uploadUrl"]
    assert training.put(address.replace("/uploads/", "/uploads/x"), b"").status_code == 403
    assert training.put(address, b"").status_code == 400


def test_a_run_that_ended_promises_nothing_more(training, finished):
    body = {"project": training.project, "name": "exp1", "filename": "best.pt", "modelId": training.run_id}
    response = training.post("models/upload", body)
    assert (response.status_code, "succeeded" in response.json()["error"]) == (409, True)


def test_weights_are_found_by_run_alias_and_number(training, finished, owner, team):
    promote_version(version=finished, alias="production", reason="good", actor=actor_for_user(owner))
    for model in ("exp1", "production", finished.label, "main"):
        body, name = fetch(training, f"models/{training.project}/{model}/download")
        assert (body, name) == (WEIGHTS, f"shelf-{finished.label}.pt")
    missing = training.ask(f"models/{training.project}/nothing/download")
    assert missing.status_code == 404


def test_a_network_in_quarantine_goes_to_those_who_write_alone(training, finished, client, owner, team):
    find_danger(finished, NETWORK)
    reader = make_user()
    set_role(team=team, username=reader.username, role=Role.READER, actor=actor_for_user(owner))
    path = f"models/{training.project}/exp1/download"
    assert fetch(training, path)[0] == WEIGHTS
    assert AuditRow.objects.filter(action="fetch own pickled network").count() == 1
    with pytest.raises(QuarantinedError):
        check_download(Snapshot(finished.repository, finished), actor_for_user(owner))
    training.token = token_for(reader, Scope.READ)
    assert training.ask(path).status_code == 403


@pytest.mark.parametrize("imports", [[*NETWORK, "os.system"], ["ultralytics.nn.autobackend.AutoBackend"], []])
def test_a_file_that_names_anything_else_goes_to_nobody(training, finished, imports):
    find_danger(finished, imports)
    assert training.ask(f"models/{training.project}/exp1/download").status_code == 403


def test_a_version_that_no_run_saved_stays_in_quarantine(training, finished):
    find_danger(finished, NETWORK)
    Version.objects.update(job=None)
    assert training.ask(f"models/{training.project}/{finished.label}/download").status_code == 403


def test_lineage_shows_the_dataset_and_the_weights_it_began_with(training, another, finished, owner, team):
    dataset = picture_dataset(make_repository(team, owner, "cats", RepositoryKind.DATASET), owner)
    fetched = f"/home/ada/weights/{training.project}/exp1/shelf-{finished.label}.pt"
    another.name = "exp2"
    another.start(model=fetched, data=f"ul://{team}/datasets/cats")
    another.complete(another.upload(b"PK\x03\x04 better"))
    made = resolve(another.run.run.project).version
    edges = LineageEdge.objects.filter(target=made).values_list("source", "relation")
    assert {(dataset.pk, "trained-on"), (finished.pk, "fine-tuned-from")} <= set(edges)
    measured = Evaluation.objects.get(version=made)
    assert (measured.dataset, measured.runtime, measured.metrics["map50"]) == (dataset, "ultralytics", 0.5)


def test_a_path_that_only_looks_like_ours_is_no_base(training):
    training.start(model="/home/ada/weights/nobody/shelf/exp1/shelf-v3.pt", data="ul://nobody/datasets/none")
    assert (training.run.spec["base"], training.run.spec["datasets"]) == (None, [])


def test_the_printed_address_leads_to_the_run(training, client, owner):
    training.start()
    client.force_login(owner)
    assert client.get(f"/ultralytics/{training.project}/exp1").headers["Location"] == f"/jobs/{training.run_id}"
    client.force_login(make_user())
    assert client.get(f"/ultralytics/{training.project}/exp1").headers["Location"] == f"/{training.project}"


def test_a_report_with_its_imports_is_kept_whole():
    finding = Finding(severity=Severity.DANGER, code="pickle-import", sentence="s", imports=NETWORK)
    report = FileReport(sha256="0" * 64, format="torch", findings=[finding])
    assert FileReport.model_validate_json(report.model_dump_json()).findings[0].imports == NETWORK
