"""Predictions: who may ask, what is taken, what is kept and for how long. Workers are played by their tokens."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import (
    AuthenticationError,
    InvalidInputError,
    LeaseLostError,
    NotFoundError,
    QuarantinedError,
    TooLargeError,
    TooManyRequestsError,
)
from steelyard_contracts.jobs import Finish, JobState
from steelyard_contracts.prediction import LARGEST_PICTURE, PredictionState
from steelyard_contracts.weights import FileReport, Finding, Severity
from steelyard_platform.accounts.permissions import ANONYMOUS, Action, Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import predictions, services, uploads
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos.models import Branch
from steelyard_platform.storage.objects import ObjectMissingError
from steelyard_platform.storage.services import object_store
from steelyard_platform.weights.inspection import record_report
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db
WORKER = Actor(name="worker", scope=Scope.WORKER)
PNG = b"\x89PNG\r\n\x1a\n a picture"
CONFIG = json.dumps({"architectures": ["ResNetForImageClassification"]}).encode()
ANSWER = {
    "task": "image-classification", "runtime": "onnxruntime-cpu", "version": "x", "file": "model.onnx",
    "pictures": [{"width": 8, "height": 8, "latency_ms": 1.5, "labels": [{"label": "cat", "score": 0.9}]}],
}  # fmt: skip


@pytest.fixture
def version(owner, team):
    repository = make_repository(team, owner, "reader", public=True)
    return commit_files(repository, owner, {"config.json": CONFIG, "model.safetensors": b"w"})


def ask(version, actor, pictures=(PNG,), **options):
    wanted = {"top": 5, "threshold": 0.3, **options}
    return predictions.ask(version=version, pictures=list(pictures), actor=actor, **wanted)


def take(job):
    claim = services.claim_job(job_id=job.pk, worker="host:1", actor=WORKER)
    return claim, actor_for_secret(claim.token)


def answer(job, actor):
    services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.SUCCEEDED, result=ANSWER))


def test_a_worker_reads_the_pictures_and_its_answer_is_for_whoever_asked(version, owner):
    asker = actor_for_user(owner)
    job = ask(version, asker, [PNG, PNG + b"2"])
    assert predictions.find(job.pk, asker).state is PredictionState.WAITING
    claim, worker = take(job)
    assert claim.spec.runs == f"{version.repository}@v1"
    assert worker.grants == {(version.repository_id, Action.READ)}
    assert b"".join(predictions.picture_for_worker(job.pk, 1, worker)) == PNG + b"2"
    with pytest.raises(NotFoundError, match="no such picture"):
        predictions.picture_for_worker(job.pk, 2, worker)
    answer(job, worker)
    found = predictions.wait(job.pk, 1)
    assert found.answer is not None
    assert (found.state, found.answer.pictures[0].labels[0].label) == (PredictionState.DONE, "cat")
    with pytest.raises(NotFoundError, match="There is no prediction"):
        predictions.find(job.pk, actor_for_user(make_user()))
    with pytest.raises(LeaseLostError):
        predictions.picture_for_worker(job.pk, 0, asker)


def test_pictures_are_deleted_when_it_has_ended_and_answers_after_minutes(version, owner):
    job = ask(version, actor_for_user(owner))
    key = f"predictions/{job.spec['upload'].replace('-', '')}/0"
    answer(job, take(job)[1])
    predictions.forget_old()
    with pytest.raises(ObjectMissingError):
        object_store().stat(key)
    assert predictions.find(job.pk, actor_for_user(owner)).state is PredictionState.DONE
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        assert predictions.forget_old()
    assert not Job.objects.filter(pk=job.pk).exists()


def test_what_no_worker_takes_fails_with_a_sentence(version, owner):
    job = ask(version, actor_for_user(owner))
    with time_machine.travel(timezone.now() + timedelta(minutes=3)):
        predictions.forget_old()
    found = predictions.find(job.pk, actor_for_user(owner))
    assert found.state is PredictionState.FAILED
    assert found.error is not None
    assert found.error.startswith("No worker took it")


def test_the_most_exact_onnx_variant_is_run(version, owner):
    for name in ("v1-onnx-int8", "v1-onnx-fp16", "v1-notes"):
        Branch.objects.create(repository=version.repository, name=name, base=version, sees_base=False)
        files = {"config.json": CONFIG, "notes" if name == "v1-notes" else "model.onnx": b"o"}
        made = commit_files(version.repository, owner, files, branch=name)
        if name == "v1-onnx-fp16":
            wanted = made
    assert ask(version, actor_for_user(owner)).spec["runs"] == f"{version.repository}@{wanted.label}"


def test_whoever_may_read_may_ask_and_nobody_else(version, owner, team):
    assert ask(version, actor_for_user(make_user())).state == JobState.QUEUED  # it is public
    with pytest.raises(AuthenticationError, match="counted by person"):
        ask(version, ANONYMOUS)
    hidden = commit_files(make_repository(team, owner, "hidden"), owner, {"config.json": CONFIG})
    with pytest.raises(NotFoundError):
        ask(hidden, actor_for_user(make_user()))


def test_a_version_in_quarantine_and_one_that_is_no_network_are_refused(version, owner, team):
    danger = Finding(severity=Severity.DANGER, code="pickle", sentence="It runs os.system.")
    report = FileReport(sha256=sha256_of(b"w"), format="torch", findings=[danger])
    record_report(version=version, report=report, actor=WORKER)
    with pytest.raises(QuarantinedError):
        ask(version, actor_for_user(owner))
    other = commit_files(make_repository(team, owner, "other"), owner, {"w": b"1"})
    with pytest.raises(InvalidInputError, match="no config.json that names a classifier"):
        ask(other, actor_for_user(owner))
    assert not Job.objects.filter(kind="predict").exists()


@pytest.mark.parametrize(
    ("pictures", "error", "sentence"),
    [
        ([], InvalidInputError, "Send 1 to 16 pictures; 0 came"),
        ([PNG] * 17, InvalidInputError, "17 came"),
        ([PNG, b"<svg/>"], InvalidInputError, "Picture 2 is no PNG, JPEG, WebP or BMP"),
        ([PNG + bytes(LARGEST_PICTURE)], TooLargeError, "Picture 1 has"),
        ([PNG + bytes(LARGEST_PICTURE - 20)] * 4, TooLargeError, "together; send fewer at once"),
    ],
)
def test_what_is_too_much_or_no_picture_is_refused(version, owner, pictures, error, sentence):
    with pytest.raises(error, match=sentence):
        ask(version, actor_for_user(owner), pictures)


def test_one_person_waits_for_a_few_at_once(version, owner):
    for _ in range(4):
        ask(version, actor_for_user(owner))
    with pytest.raises(TooManyRequestsError, match="4 of them at once; try again in a minute"):
        ask(version, actor_for_user(owner))
    ask(version, actor_for_user(make_user()))


def test_both_forms_of_a_request_and_the_address_to_ask_again(client, version, owner, monkeypatch):
    monkeypatch.setattr(uploads, "_WAIT_SECONDS", 0.0)
    headers = {"Authorization": f"Bearer {token_for(owner, Scope.READ)}"}
    address = f"/api/v1/models/{version.repository}/versions/v1/predict"
    form = {"pictures": [SimpleUploadedFile("a.png", PNG), SimpleUploadedFile("b.png", PNG)], "top": "2"}
    first = client.post(address, form, headers=headers)
    assert first.status_code == 202
    job = Job.objects.get(pk=first.json()["id"])
    assert (job.spec["pictures"], job.spec["top"]) == (2, 2)
    body = {"pictures": [base64.b64encode(PNG).decode()], "threshold": 0.5}
    second = client.post(address, body, content_type="application/json", headers=headers)
    assert Job.objects.get(pk=second.json()["id"]).spec["threshold"] == 0.5
    answer(job, take(job)[1])
    again = client.get(f"/api/v1/predictions/{job.pk}", headers=headers)
    assert (again.status_code, again.json()["answer"]["pictures"][0]["labels"][0]["label"]) == (200, "cat")
    for wrong, sentence in (({"pictures": ["?"]}, "no base64"), ({"pictures": ["YQ=="], "top": 0}, "top:")):
        refused = client.post(address, wrong, content_type="application/json", headers=headers)
        assert refused.status_code == 400
        assert sentence in refused.json()["error"]["message"]
    assert client.post(address, body, content_type="application/json").status_code in {401, 404}


def test_a_version_page_has_the_panel_for_those_who_may_ask(client, version, owner):
    address = f"/{version.repository}/versions/v1"
    assert "data-predict" not in client.get(address).content.decode()
    client.force_login(owner)
    assert f'data-predict="{address}/predict"' in client.get(address).content.decode()
    refused = client.post(f"{address}/predict", {"pictures": SimpleUploadedFile("a.txt", b"text")})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_input")


@pytest.mark.parametrize(
    ("architecture", "has_boxes"),
    [("ResNetForImageClassification", False), ("DFineForObjectDetection", True), ("XForSemanticSegmentation", False)],
)
def test_how_sure_boxes_must_be_is_asked_of_detectors_alone(client, team, owner, architecture, has_boxes):
    config = json.dumps({"architectures": [architecture]}).encode()
    made = commit_files(make_repository(team, owner, "network"), owner, {"config.json": config})
    client.force_login(owner)
    shown = client.get(f"/{made.repository}/versions/v1").content.decode()
    assert "data-predict" in shown
    assert ('name="threshold"' in shown) is has_boxes


def test_a_prediction_is_not_asked_for_as_a_job_and_is_in_no_list(client, version, owner):
    job = ask(version, actor_for_user(owner))
    headers = {"Authorization": f"Bearer {token_for(owner)}"}
    sent = client.post("/api/v1/jobs", {"spec": job.spec}, content_type="application/json", headers=headers)
    assert sent.status_code == 400
    assert "asked for with their pictures" in sent.json()["error"]["message"]
    assert not services.asked_for().exists()
