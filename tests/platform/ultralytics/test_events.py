"""A training that reports, as its people see it: what is kept, whatever is sent, however often."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid

import pytest

from steelyard_contracts.jobs import JobState
from steelyard_platform.accounts.models import Token
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs.models import LogLine
from steelyard_platform.jobs.series import read_points
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.jobs.services import cancel_job, stop_job
from steelyard_platform.repos.models import Repository

pytestmark = pytest.mark.django_db


def values(run, name):
    return [point.value for point in read_points(run.pk, name)]


def log(run, attempt=1):
    lines = LogLine.objects.filter(job=run, attempt=attempt).order_by("number")
    return list(lines.values_list("text", flat=True))


def test_a_training_is_a_run_of_its_project(training, team):
    answer = training.start()
    run = training.run
    named = {"modelId": str(run.pk), "runId": str(run.pk), "modelSlug": "exp1"}
    assert answer == {**named, "cancelled": False}
    assert (run.kind, run.state, run.run.source) == ("run", JobState.RUNNING, "ultralytics")
    assert run.run.project.full_name == f"{team}/shelf"
    assert (run.spec["config"]["lr0"], run.spec["config"]["pretrained"], run.spec["config"]["model"]) == (
        0.01,
        True,
        "yolo11n.yaml",
    )
    assert run.run.environment["host"] == "bench-1"
    assert run.run.git["remote"] == "https://git.example.org/vision.git"
    assert not Repository.objects.get(name="shelf").is_public


def test_epochs_are_series_and_progress(training):
    training.start()
    assert training.epoch(0).json()["cancelled"] is False
    training.epoch(1)
    run = training.run
    assert values(run, "metrics/mAP50_B") == [0.25, 0.5]
    assert set(values(run, "system/disk/used")) == {12.0}
    assert run.progress == 1.0


def test_signs_of_life_are_answered(training):
    training.start()
    for event in ("training_progress", "checkpoint_saved"):
        assert training.send(event, {"runId": training.run_id}).json()["cancelled"] is False
    training.send("system_metrics", {"cpu": 50.0, "network": {"recv": 1.0}})
    assert values(training.run, "system/network/recv") == [1.0]
    assert training.send("something_new", {}).status_code == 400


def test_what_is_delivered_twice_is_kept_once(training, another):
    training.start()
    another.start()
    assert another.run_id == training.run_id
    for _ in range(2):
        training.epoch(0)
        training.console(1, "a\nb")
    assert values(training.run, "train/box_loss") == [3.0]
    assert log(training.run) == ["a", "b"]


def test_a_second_run_of_the_same_name_gets_one_of_its_own(training, another):
    training.start()
    training.epoch(0)
    assert another.start()["modelSlug"] == "exp1-2"
    assert another.run_id != training.run_id


def test_a_name_that_means_a_version_is_not_taken(client, owner, team, training):
    training.name = "main"
    assert training.start()["modelSlug"] == "main-run"


def test_a_project_without_a_team_is_the_persons_own(training, owner):
    training.project = "shelf"
    training.start()
    assert training.run.run.project.full_name == f"{owner.username}/shelf"


def test_events_in_any_order_are_kept(training):
    training.start()
    training.epoch(1)
    training.console(2, "second")
    training.epoch(0)
    training.console(1, "first")
    assert values(training.run, "train/box_loss") == [3.0, 2.0]
    assert log(training.run) == ["first", "second"]


def test_an_epoch_that_comes_after_the_end_is_kept(training):
    training.start()
    training.complete(None)
    assert training.epoch(1).status_code == 200
    assert values(training.run, "train/box_loss") == [2.0]
    assert training.run.state == JobState.SUCCEEDED


def test_the_console_keeps_what_a_terminal_would_show(training):
    training.start()
    training.console(1, "\x1b[34mtrain:\x1b[0m  10%|#  |\r train: 100%|###|\n\nEpoch 1/2\nhalf a \ud83d sign")
    assert log(training.run) == [" train: 100%|###|", "Epoch 1/2", "half a  sign"]


def test_chunks_that_are_numbered_by_a_clock_are_kept_in_order_and_once(training):
    training.start()
    first = int(time.time() * 1000) - 3_000
    for chunk, content in ((first + 2, "second"), (first + 1, "first"), (first + 2, "second")):
        assert training.console(chunk, content).status_code == 200
    assert log(training.run) == ["first", "second"]


def test_a_cancelled_run_hears_it_with_its_next_epoch(training, owner):
    training.start()
    cancel_job(job=training.run, actor=actor_for_user(owner))
    assert training.epoch(0).json()["cancelled"] is True
    training.complete(None)
    run = training.run
    assert run.state == JobState.CANCELLED
    assert training.epoch(1).status_code == 200
    assert values(run, "train/box_loss") == [3.0]


def test_a_run_that_is_stopped_ends_early_and_well(training, owner):
    training.start()
    stop_job(job=training.run, actor=actor_for_user(owner))
    assert training.epoch(0).json()["cancelled"] is True
    training.complete(None)
    assert (training.run.state, training.run.result["stopped_early"]) == (JobState.SUCCEEDED, True)


def test_a_failure_is_the_runs_end(training):
    training.start()
    assert training.send("training_failed", {"error": {"message": "CUDA out of memory"}}).status_code == 200
    assert (training.run.state, training.run.error) == (JobState.FAILED, "CUDA out of memory")


def test_a_resumed_training_is_the_same_run(training, another):
    training.start()
    training.epoch(0)
    training.send("training_failed", {})
    answer = another.start(resume="/home/ada/runs/detect/exp1/weights/last.pt")
    assert answer["modelId"] == training.run_id
    another.start(resume="/home/ada/runs/detect/exp1/weights/last.pt")  # whose answer was lost
    another.epoch(1)
    assert (training.run.state, training.run.attempt) == (JobState.RUNNING, 2)
    assert values(training.run, "train/box_loss") == [3.0, 2.0]
    # Begun anew with the very words of the first start, it is another run.
    assert training.start()["modelSlug"] == "exp1-2"


def test_a_resumed_training_may_name_its_run_by_its_id_alone(training, another):
    training.start()
    training.epoch(0)
    another.project, another.run_id = "", training.run_id
    begun = another.start_of(resume="/home/ada/runs/detect/exp1/weights/last.pt")
    for _ in range(2):  # the first answer was lost
        assert another.send("training_started", begun).json()["modelId"] == training.run_id
    another.epoch(1)
    assert (training.run.state, training.run.attempt) == (JobState.RUNNING, 2)
    another.run_id = str(uuid.uuid4())
    assert another.send("training_started", begun).status_code == 404  # and the client begins another


def test_an_unknown_run_is_refused_with_a_sentence(training):
    training.run_id = str(uuid.uuid4())
    response = training.epoch(0)
    assert response.status_code == 404
    assert "There is no run" in response.json()["error"]
    training.run_id = None
    assert training.epoch(0).status_code == 404


def test_a_stranger_neither_starts_nor_reports(training, stranger):
    training.start()
    assert stranger.send("training_started", stranger.start_of()).status_code in {403, 404}
    stranger.run_id = training.run_id
    assert stranger.epoch(0).status_code == 404


def test_a_token_that_expires_in_mid_run_is_told_so(training):
    training.start()
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    Token.objects.update(expires_at=past)
    response = training.epoch(0)
    assert (response.status_code, "expired" in response.json()["error"]) == (401, True)


@pytest.mark.parametrize(
    "body",
    [b"no json", b"[]", b"{}", json.dumps({"event": 3}).encode(), b'{"event": "epoch_end", "data": {"epoch": -1}}'],
)
def test_what_is_no_event_is_refused_and_breaks_nothing(training, body):
    training.start()
    assert training.post("training/metrics", body).status_code in {400, 404}


def test_facts_that_are_too_many_are_refused_in_a_sentence(training):
    start = training.start_of()
    start["environment"] = {f"fact {number}": number for number in range(600)}
    response = training.send("training_started", start)
    assert (response.status_code, "environment" in response.json()["error"]) == (400, True)


def test_numbers_that_are_none_and_names_of_any_kind_are_kept(training):
    training.start()
    body = {"event": "epoch_end", "project": training.project, "name": "exp1", "modelId": training.run_id}
    metrics = '{"loss": NaN, "up": Infinity, "two\\nlines": 1.5, "größe": 2, "not a number": "x", "huge": 1e999}'
    text = json.dumps(body)[:-1] + f', "data": {{"epoch": 0, "metrics": {metrics}, "system": {{}}}}}}'
    assert training.post("training/metrics", text.encode()).status_code == 200
    names = list(MetricSeries.objects.filter(job=training.run).values_list("name", flat=True))
    assert {"loss", "up", "huge"} <= set(names)
    assert len(names) == 5
    assert all("\n" not in name for name in names)


def test_a_console_of_megabytes_is_bounded(training):
    training.start()
    assert training.console(1, "x" * 9_000 + "\n" + "y\n" * 5_000).status_code == 200
    assert len(log(training.run)) == 1_000
    assert training.console(2, "z" * 17_000_000).status_code == 413
