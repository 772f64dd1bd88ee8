"""What a page hears of a job while it runs: the stream, samples, estimates, and runs side by side."""

from __future__ import annotations

import json
import re
import struct
import zlib
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from steelyard_contracts.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from steelyard_contracts.estimates import Paced, Wanted, duration, estimate
from steelyard_contracts.jobs import JobState, LogLine, MetricPoint
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.runs import is_more_better
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.workers import Resources
from steelyard_platform.accounts.permissions import Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import estimates, feed, samples, series, services, watching
from steelyard_platform.jobs.finding import Wanted as WantedJobs
from steelyard_platform.jobs.finding import find_jobs, headlines
from steelyard_platform.jobs.models import Attempt, Job, Sample
from steelyard_platform.jobs.runs import compare_runs
from steelyard_platform.storage.services import object_store
from tests.support.factories import make_repository, make_user, picture_dataset

pytestmark = pytest.mark.django_db
WORKER = Actor(name="worker", scope=Scope.WORKER)


@pytest.fixture
def ask(owner, team):
    picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)

    def queue(**fields):
        spec = TrainSpec(dataset=f"{team}/digits", output=f"{team}/reader", **fields)
        return services.request_job(spec=spec, actor=actor_for_user(owner))

    return queue


@pytest.fixture
def job(ask):
    return ask()


def lease_of(job):
    return actor_for_secret(services.claim_job(job_id=job.pk, worker="host:1", actor=WORKER).token)


def png(width=4, height=3):
    def block(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + block(b"IDAT", rows) + block(b"IEND", b"")


def point(name, step, value):
    return MetricPoint(name=name, step=step, value=value)


# --- the feed ---------------------------------------------------------------------------------


def test_a_reader_hears_what_is_new_and_only_that(job):
    cursor, ends = feed.present(job.pk)
    series.write_points(job.pk, [point("train/loss", n, 1.0 / n) for n in (1, 2, 3)])
    series.write_lines(job.pk, 1, [LogLine(number=0, text="hello")])
    heard = feed.changes_since(job, cursor, ends)
    assert heard.body["points"] == {"train/loss": [[1, 1.0], [2, 0.5], [3, pytest.approx(1 / 3)]]}
    assert [line["text"] for line in heard.body["lines"]] == ["hello"]
    assert feed.Cursor.read(str(heard.cursor)) == heard.cursor
    again = feed.changes_since(job, heard.cursor, heard.ends)
    assert (again.body["series"], again.body["lines"], again.cursor) == ([], [], heard.cursor)
    series.write_points(job.pk, [point("train/loss", 4, float("nan")), point("train/lr", 1, 0.1)])
    heard = feed.changes_since(job, heard.cursor, heard.ends)
    assert heard.body["points"] == {"train/loss": [[4, None]], "train/lr": [[1, 0.1]]}
    json.dumps(heard.body, allow_nan=False)


def test_what_went_back_is_named_and_not_sent_as_new(job):
    series.write_points(job.pk, [point("train/loss", n, 1.0) for n in range(10)])
    cursor, ends = feed.present(job.pk)
    series.drop_points_beyond(job.pk, 4)
    heard = feed.changes_since(job, cursor, ends)
    assert [one["name"] for one in heard.body["series"]] == ["train/loss"]
    assert heard.body["points"] == {}
    assert heard.ends == {"train/loss": 4}


@pytest.fixture
def hub(monkeypatch):
    """One whose streams keep the test's connection."""
    monkeypatch.setattr(connection, "close", lambda: None)
    return watching.Hub()


def test_a_stream_greets_tells_each_change_once_and_ends_with_the_job(hub, job, monkeypatch):
    monkeypatch.setattr(hub, "_look_regularly", lambda: None)  # the test looks
    stream = hub.stream(job.pk)
    room = hub._rooms[job.pk]
    assert next(stream) == b"retry: 2000\n\n"
    assert b"event: hello" in next(stream)
    series.write_points(job.pk, [point("train/loss", 1, 0.5)])
    hub._look(room)
    first = next(stream).decode()
    assert '"train/loss": [[1, 0.5]]' in first
    seen = first.split("id: ")[1].split("\n")[0]
    series.write_points(job.pk, [point("train/loss", 2, 0.25)])
    hub._look(room)
    hub._look(room)
    later = hub.stream(job.pk, seen)  # its line broke after the first change
    assert [next(later), next(later)] == [b"retry: 2000\n\n", b": as you were\n\n"]
    assert next(stream) == next(later)
    Job.objects.filter(pk=job.pk).update(state=JobState.SUCCEEDED)
    hub._look(room)
    hub._look(room)
    assert '"final": true' in next(stream).decode()
    assert b"event: end" in next(stream)
    assert list(stream) == []
    later.close()
    assert hub._rooms == {}


def test_no_more_streams_are_served_than_the_setting_allows(hub, job, settings, monkeypatch):
    monkeypatch.setattr(hub, "_look_regularly", lambda: None)
    monkeypatch.setattr(settings.ENVIRONMENT, "web_watchers", 1)
    one = hub.stream(job.pk)
    next(one)
    with pytest.raises(UnavailableError, match="ask again instead"):
        hub.stream(job.pk)
    one.close()
    hub.stream(job.pk).close()
    hub.stream(job.pk).close()  # a reader who left before the first word has given up the place


def test_pages_and_the_api_show_a_job_to_its_team_alone(client, job, owner):
    series.write_points(job.pk, [point("validation/accuracy", n, n / 10) for n in range(3)])
    paths = [
        f"/jobs/{job.pk}",
        f"/jobs/{job.pk}/live.json?cursor=0-0-0",
        f"/jobs/{job.pk}/series.json?match=accu",
        f"/jobs/{job.pk}/log.json",
        f"/jobs/{job.pk}/panels",
        f"/jobs/{job.pk}/actions",
        f"/api/v1/jobs/{job.pk}/metric-names",
        f"/api/v1/jobs/{job.pk}/metrics?names=validation/accuracy&buckets=10",
        f"/api/v1/jobs/{job.pk}/metric-history?name=validation/accuracy&after=0",
    ]
    client.force_login(make_user())
    assert {client.get(path).status_code for path in paths} == {404}
    client.force_login(owner)
    answers = {path: client.get(path) for path in paths}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers[paths[1]].json()["series"][0]["name"] == "validation/accuracy"
    assert answers[paths[6]].json()["items"][0]["last_step"] == 2
    assert [one["step"] for one in answers[paths[8]].json()] == [1, 2]
    assert "Clone with changes" in answers[paths[0]].content.decode()


# --- samples ----------------------------------------------------------------------------------


def test_a_sample_is_kept_replaced_and_served_to_who_may_see_the_job(client, job, owner):
    actor = lease_of(job)
    first = samples.save_sample(job_id=job.pk, actor=actor, name="predictions", step=1, png=png())
    again = samples.save_sample(job_id=job.pk, actor=actor, name="predictions", step=1, png=png(8, 8))
    assert (again.pk, again.width) == (first.pk, 8)
    assert len(list(object_store().list_objects("samples/"))) == 1
    client.force_login(owner)
    (view,) = client.get(f"/api/v1/jobs/{job.pk}/samples").json()["items"]
    picture = client.get(view["url"])
    assert (picture["Content-Type"], picture.getvalue()) == ("image/png", png(8, 8))
    client.force_login(make_user())
    assert client.get(view["url"]).status_code == 404


@pytest.mark.parametrize(
    ("content", "name", "fault", "sentence"),
    [
        (b"<svg onload=alert(1)>" + b" " * 40, "a", InvalidInputError, "must be a PNG"),
        (png(5000, 1), "a", TooLargeError, "5000 by 1"),
        (png() + b" " * samples.LARGEST, "a", TooLargeError, "at most 2 MB"),
        (png(), "../x\n", InvalidInputError, "needs a name"),
    ],
)
def test_a_sample_that_is_no_small_picture_is_refused(job, content, name, fault, sentence):
    with pytest.raises(fault, match=sentence):
        samples.save_sample(job_id=job.pk, actor=lease_of(job), name=name, step=1, png=content)
    assert not Sample.objects.exists()


def test_a_job_leaves_only_so_many_samples(job, monkeypatch):
    monkeypatch.setattr(samples, "MOST", 2)
    actor = lease_of(job)
    for step in (1, 2):
        samples.save_sample(job_id=job.pk, actor=actor, name="p", step=step, png=png())
    with pytest.raises(ConflictError, match="The job has 2 samples"):
        samples.save_sample(job_id=job.pk, actor=actor, name="p", step=3, png=png())


# --- estimates --------------------------------------------------------------------------------


def finished(job, seconds, **changes):
    now = timezone.now()
    values = {"state": JobState.SUCCEEDED, "attempt": 1, "started_at": now - timedelta(seconds=seconds)}
    Job.objects.filter(pk=job.pk).update(finished_at=now, **(values | changes))


def test_an_estimate_is_the_median_of_runs_like_it(ask, owner, settings, monkeypatch):
    monkeypatch.setattr(settings.ENVIRONMENT, "prices", {"cpu": 36.0})
    actor = actor_for_user(owner)
    spec = TrainSpec.model_validate(ask(epochs=10).spec)
    unknown = estimates.estimate_job(spec=spec, actor=actor)
    assert (unknown.images, unknown.seconds) == (60, None)
    assert "Nothing like it has run here yet" in unknown.words
    for seconds in (6.0, 12.0, 600.0):
        finished(ask(epochs=10), seconds)
    finished(ask(epochs=10), 1.0, result={"stopped_early": True})
    finished(ask(epochs=10), 1.0, attempt=2)
    for unlike in ({"image_size": 48}, {"model": "mobilenet-v2-nano"}):
        other = estimates.estimate_job(spec=spec.model_copy(update=unlike), actor=actor)
        assert "Nothing like it has run here yet" in other.words
    together = estimates.estimate_job(spec=spec, actor=actor, resources=Resources(hosts=2))
    assert "Nothing like it has run here yet" in together.words
    found = estimates.estimate_job(spec=spec.model_copy(update={"epochs": 20}), actor=actor)
    assert (found.images, found.runs) == (120, 3)
    assert found.seconds == pytest.approx(24, rel=0.01)
    assert found.cost == pytest.approx(0.24, rel=0.01)
    assert found.currency in found.words
    assert ask(epochs=20).estimate["seconds"] == pytest.approx(24, rel=0.01)
    with pytest.raises(NotFoundError):
        estimates.estimate_job(spec=spec, actor=actor_for_user(make_user()))


def test_the_time_that_is_left_follows_the_pace(job):
    Job.objects.filter(pk=job.pk).update(
        state=JobState.RUNNING, attempt=1, progress=0.25, started_at=timezone.now() - timedelta(seconds=100)
    )
    job.refresh_from_db()
    assert estimates.remaining_seconds(job) == pytest.approx(300, rel=0.05)
    job.progress = 0.05  # its data is there, and no step is done
    assert estimates.remaining_seconds(job) is None
    job.progress, job.state = 0.25, JobState.SUCCEEDED
    assert estimates.remaining_seconds(job) is None


def test_the_time_that_is_left_of_a_resumed_job_follows_the_attempts_pace(job):
    """Half was done by the attempts before, in days; this one did a tenth in 100 seconds."""
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(
        state=JobState.RUNNING, attempt=2, progress=0.6, started_at=now - timedelta(days=3), estimate={"seconds": 50.0}
    )
    attempt = Attempt.objects.create(
        job=job, number=2, worker="w", progress_before=0.5, started_at=now - timedelta(seconds=100)
    )
    job.refresh_from_db()
    assert estimates.remaining_seconds(job) == pytest.approx(400, rel=0.05)
    Attempt.objects.filter(pk=attempt.pk).update(progress_before=0.6)
    assert estimates.remaining_seconds(job) == pytest.approx(20)  # it has hardly begun: by the estimate


def test_an_estimate_in_words():
    runs = [Paced(images=100, seconds=pace) for pace in (50, 60, 70, 80, 90)]
    assert estimate(Wanted(6000, 2.0, "EUR"), runs).words == (
        "about 1 h 10 min (14 min to 1 h 25 min), from 5 runs like it; 2.33 EUR"
    )
    around = [Paced(images=100, seconds=50, around=10)]
    assert estimate(Wanted(200), around).words == "about 2 min (77 s to 3 min), from 1 run like it"
    assert [duration(seconds) for seconds in (3, 89, 100, 3600, 200_000)] == [
        "3 s",
        "89 s",
        "2 min",
        "1 h 0 min",
        "2 d 8 h",
    ]


# --- side by side -----------------------------------------------------------------------------


def test_runs_side_by_side_show_what_differs_first_and_mark_the_best(ask, owner):
    jobs = [ask(learning_rate=rate, epochs=5) for rate in (0.1, 0.01)]
    for job, accuracy in zip(jobs, (0.5, 0.75), strict=True):
        series.write_points(job.pk, [point("validation/accuracy", 1, accuracy), point("validation/loss", 1, accuracy)])
    found = compare_runs([job.pk for job in jobs], actor_for_user(owner))
    assert [row.name for row in found.parameters if row.differs] == ["learning_rate"]
    assert (found.parameters[0].name, found.parameters[0].values) == ("learning_rate", [0.1, 0.01])
    rows = {row.name: row for row in found.metrics}
    assert (rows["validation/accuracy"].best, rows["validation/loss"].best) == ([1], [0])
    with pytest.raises(InvalidInputError, match="2 to 8 different jobs"):
        compare_runs([jobs[0].pk] * 2, actor_for_user(owner))
    with pytest.raises(NotFoundError):
        compare_runs([job.pk for job in jobs], actor_for_user(make_user()))


@pytest.mark.parametrize(
    ("name", "more"),
    [("validation/loss", False), ("f1_macro", True), ("validation/map50_95", True), ("train/lr", None)],
)
def test_what_is_better_is_told_by_the_name(name, more):
    assert is_more_better(name) is more


def test_jobs_are_found_by_what_was_asked_for(ask, owner, team, django_assert_num_queries):
    first, second = ask(learning_rate=0.5), ask(epochs=7)
    series.write_points(first.pk, [point("validation/accuracy", 1, 0.5)])
    finished(first, 30)
    actor = actor_for_user(owner)

    def ids(**conditions):
        return {job.pk for job in find_jobs(actor, WantedJobs(**conditions), cursor=None, limit=10)[0]}

    assert ids(text="reader") == ids(team=str(team)) == ids(kind="train") == {first.pk, second.pk}
    assert ids(state="queued") == {second.pk}
    assert ids(text="nothing like it") == ids(kind="evaluate") == set()
    with pytest.raises(InvalidInputError, match="is no state of a job"):
        ids(state="dancing")
    rows = list(Job.objects.all().order_by("created_at"))
    with django_assert_num_queries(1):
        one, other = headlines(rows)
    assert (one.name, one.value) == ("accuracy", 0.5)
    assert one.seconds == pytest.approx(30, abs=1)
    assert (other.name, other.value) == ("", None)


# --- the form ---------------------------------------------------------------------------------


def test_a_training_is_estimated_asked_for_and_cloned_on_a_page(client, job, owner, team):
    client.force_login(owner)
    form = {"dataset": f"{team}/digits", "output": f"{team}/other", "epochs": "4", "augment": "no"}
    page = client.post("/jobs/new", {**form, "estimate": "yes"})
    assert "so nobody knows how long it takes. 24 pictures to look at." in page.content.decode()
    assert Job.objects.count() == 1
    assert client.post("/jobs/new", form).status_code == 302
    made = Job.objects.exclude(pk=job.pk).get()
    finished(made, 240)
    known = client.post("/jobs/new", {**form, "estimate": "yes"}).content.decode()
    assert re.search(r">About 4 min \(.*\), from 1 run like it\. 24 pictures to look at\.", known)
    assert (made.spec["epochs"], made.spec["augment"], made.spec["dataset"]) == (4, False, f"{team}/digits@v1")
    filled = client.get(f"/jobs/new?clone={made.pk}").content.decode()
    assert f'value="{team}/digits@v1"' in filled
    fields = {key: str(value) for key, value in made.spec.items() if isinstance(value, str | int | float)}
    fields |= {key: "yes" if value else "no" for key, value in made.spec.items() if isinstance(value, bool)}
    answer = client.post("/jobs/new", {**fields, "epochs": "9", "clone": str(made.pk)})
    assert answer.status_code == 302, answer.content.decode()
    clone = Job.objects.get(cloned_from=made)
    assert {key for key in clone.spec if clone.spec[key] != made.spec[key]} == {"epochs"}
    on_two = {"machine-labels": "gpu:a100, lab", "machine-gpus": "1", "machine-hosts": "2"}
    assert client.post("/jobs/new", {**form, **on_two}).status_code == 302
    spread = Job.objects.latest("created_at")
    assert Resources.model_validate(spread.resources) == Resources(labels=["gpu:a100", "lab"], gpus=1, hosts=2)
    assert "gpu:a100, lab, 1 GPU, on 2 machines" in client.get(f"/jobs/{spread.pk}").content.decode()
    assert 'value="gpu:a100, lab"' in client.get(f"/jobs/new?clone={spread.pk}").content.decode()
    assert client.post("/jobs/new", {**form, "machine-hosts": "many"}).status_code == 400
    refused = client.post("/jobs/new", {**form, "epochs": "many"})
    assert (refused.status_code, "epochs" in refused.content.decode()) == (400, True)


def test_a_worker_reports_over_http_what_a_reader_reads_there(client, job, owner):
    claim = services.claim_job(job_id=job.pk, worker="host:1", actor=WORKER)
    head = {"Authorization": f"Bearer {claim.token}"}
    sent = {
        "points": [{"name": "train/loss", "step": 1, "value": "NaN"}, {"name": "train/loss", "step": 2, "value": 3}]
    }
    address = f"/api/v1/jobs/{job.pk}"
    answer = client.post(f"{address}/metric-points", sent, content_type="application/json", headers=head)
    assert answer.status_code == 204
    shown = client.post(f"{address}/samples?name=p&step=1", png(), content_type="image/png", headers=head)
    assert shown.status_code == 201
    client.force_login(owner)
    assert [one["value"] for one in client.get(f"{address}/metric-history?name=train/loss").json()] == ["NaN", 3.0]
