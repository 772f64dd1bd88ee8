"""Runs: trainings that were done elsewhere start, report, end and go on here."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime

import pytest
from django.conf import settings

from steelyard_contracts.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    InvalidReferenceError,
    NotFoundError,
    RepositoryNotFoundError,
)
from steelyard_contracts.jobs import JobState, LogLine
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.run_specs import GitState
from steelyard_contracts.tracking import RunPoint, RunRequest, RunSpec
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Role, Scope
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import feed, placement, services, tracking
from steelyard_platform.jobs.finding import Wanted, find_jobs
from steelyard_platform.jobs.models import Attempt
from steelyard_platform.jobs.models import LogLine as Line
from steelyard_platform.jobs.runs import compare_runs
from steelyard_platform.jobs.series import read_points
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.services import delete_repository
from steelyard_platform.weights.models import LineageEdge
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for
from tests.support.jobs import later

pytestmark = pytest.mark.django_db
HOUR = 3600


@pytest.fixture
def actor(owner):
    return actor_for_user(owner)


@pytest.fixture
def start(team, actor):
    def _start(name="exp", **options):
        return tracking.start_run(request=RunRequest(project=f"{team}/shelf", name=name, **options), actor=actor)

    return _start


def _points(*values, name="loss", step=0):
    return [RunPoint(name=name, step=step + number, value=value) for number, value in enumerate(values)]


def test_a_run_makes_its_project_and_is_at_work_at_once(start, team, actor):
    run = start(config={"lr": 0.1, "worst": math.nan}, environment={"host": "bench-1"}, tags={"who": "ada"})
    view = services.view_of(run)
    assert (view.state, view.kind, view.attempt) == (JobState.RUNNING, "run", 1)
    assert view.run is not None
    assert (view.run.project, view.run.name, view.run.is_silent) == (f"{team}/shelf", "exp", False)
    assert isinstance(view.spec, RunSpec)
    assert view.spec.config == {"lr": 0.1, "worst": "NaN"}
    project = Repository.objects.get(pk=run.repository)
    assert not project.is_public
    assert list(tracking.runs_of(project, actor)) == [run]
    assert AuditRow.objects.filter(action="start run", target=f"{team}/shelf").count() == 1


def test_a_name_that_is_taken_gets_a_number_and_a_repeat_of_the_start_does_not(start):
    key = uuid.uuid4()
    names = [
        start("exp1", key=key).run.name,
        start("exp1").run.name,
        start("exp1").run.name,
        start("exp1", key=key).run.name,
    ]
    assert names == ["exp1", "exp1-2", "exp1-3", "exp1"]
    assert start(None).run.name.startswith("run-")
    assert start("  two\nlines\0 ").run.name == "two lines"


def test_who_may_not_write_starts_nothing_and_sees_nothing(start, team, owner, actor):
    run = start()
    stranger, reader = make_user(), make_user()
    set_role(team=team, username=reader.username, role=Role.READER, actor=actor)
    request = RunRequest(project=f"{team}/shelf")
    for person in (stranger, reader):
        with pytest.raises(ForbiddenError):
            tracking.start_run(request=request, actor=actor_for_user(person))
    with pytest.raises(NotFoundError):
        tracking.find_run(run.pk, actor_for_user(stranger))
    assert not tracking.runs_of(run.run.project, actor_for_user(stranger))
    seen = tracking.find_run(run.pk, actor_for_user(reader))
    reads = actor_for_secret(token_for(owner, Scope.READ))
    for weak in (actor_for_user(reader), reads):
        with pytest.raises(ForbiddenError):
            tracking.write_points(run=seen, points=_points(1.0), actor=weak)
        with pytest.raises(ForbiddenError):
            tracking.finish_run(run=seen, state=JobState.FAILED, actor=weak)


@pytest.mark.parametrize("project", ["datasets:/{team}/shelf", "{team}/shelf@v1", "shelf"])
def test_a_project_is_a_model_repository(team, actor, project):
    with pytest.raises(InvalidReferenceError):
        tracking.start_run(request=RunRequest(project=project.format(team=team)), actor=actor)


def test_points_are_kept_once_whatever_they_are_called_and_whatever_they_are(start, actor):
    run = start()
    points = [*_points(1.0, math.nan, math.inf), *_points(2.0, name="mAP50(B)\nlate")]
    for _ in range(2):
        answer = tracking.write_points(run=run, points=points, actor=actor)
    assert (answer.cancel, answer.stop) == (False, False)
    assert [str(point.value) for point in read_points(run.pk, "loss")] == ["1.0", "nan", "inf"]
    assert set(MetricSeries.objects.filter(job=run).values_list("name", flat=True)) == {"loss", "mAP50_B_late"}


def test_of_too_many_names_the_first_are_kept_and_the_log_says_so(start, actor, monkeypatch):
    monkeypatch.setattr(settings.ENVIRONMENT, "run_metric_names", 3)
    run = start()
    for _ in range(2):
        points = [point for number in range(5) for point in _points(1.0, name=f"metric-{number}")]
        tracking.write_points(run=run, points=points, actor=actor)
    tracking.write_points(run=run, points=_points(2.0, name="metric-1", step=1), actor=actor)
    assert sorted(MetricSeries.objects.filter(job=run).values_list("name", "last_step")) == [
        ("metric-0", 0),
        ("metric-1", 1),
        ("metric-2", 0),
    ]
    (said,) = Line.objects.filter(job=run)
    assert said.text == "Only the first 3 metric names are kept; left out: 'metric-3' and others."


def test_lines_are_kept_once_and_a_log_that_is_full_says_so(start, actor, monkeypatch):
    monkeypatch.setattr(settings.ENVIRONMENT, "run_log_megabytes", 1)
    run = start()
    for _ in range(2):
        tracking.write_lines(run=run, lines=[LogLine(number=0, text="be\0gins")], actor=actor)
    long = [LogLine(number=number, text="x" * 8000) for number in range(1, 200)]
    for _ in range(2):
        tracking.write_lines(run=run, lines=long, actor=actor)
    texts = list(Line.objects.filter(job=run).order_by("pk").values_list("text", flat=True))
    assert texts[0] == "begins"
    assert sum(text.startswith("The log has 1 MB") for text in texts) == 1
    assert len(texts) == 1 + 124 + 1
    with pytest.raises(InvalidInputError, match="no attempt 2 yet"):
        tracking.write_lines(run=run, lines=[LogLine(number=0, text="of when?")], attempt=2, actor=actor)


def test_a_run_that_is_cancelled_hears_it_and_keeps_nothing_after_its_end(start, actor):
    run = start()
    services.cancel_job(job=run, actor=actor)
    assert tracking.write_points(run=run, points=_points(1.0), actor=actor).cancel
    tracking.finish_run(run=run, state=JobState.CANCELLED, actor=actor)
    assert tracking.write_points(run=run, points=_points(5.0, step=1), actor=actor).cancel
    assert tracking.write_lines(run=run, lines=[LogLine(number=0, text="late")], actor=actor).cancel
    assert [point.value for point in read_points(run.pk, "loss")] == [1.0]
    assert not Line.objects.filter(job=run)


def test_the_first_end_counts_and_what_comes_late_is_kept(start, actor):
    run = start()
    tracking.finish_run(run=run, state=JobState.SUCCEEDED, result={"accuracy": 0.9}, actor=actor)
    for state in (JobState.SUCCEEDED, JobState.FAILED):
        ended = tracking.finish_run(run=run, state=state, error="no", actor=actor)
    assert (ended.state, ended.error, ended.result) == (JobState.SUCCEEDED, "", {"accuracy": 0.9})
    assert AuditRow.objects.filter(action="finish run").count() == 1
    assert not tracking.write_points(run=run, points=_points(1.0), actor=actor).cancel
    assert len(read_points(run.pk, "loss")) == 1
    with pytest.raises(InvalidInputError, match="not as lost"):
        tracking.finish_run(run=run, state=JobState.LOST, actor=actor)


def test_a_run_that_ended_goes_on_under_its_id(start, actor):
    run = start(environment={"host": "bench-1"})
    tracking.finish_run(run=run, state=JobState.FAILED, error="out of memory", actor=actor)
    key = uuid.uuid4()
    for _ in range(2):
        again = tracking.resume_run(run=run, key=key, host="bench-2", actor=actor)
    assert (again.state, again.attempt, again.error, again.worker) == (JobState.RUNNING, 2, "", "bench-2")
    former, present = Attempt.objects.filter(job=run).order_by("number")
    assert (former.ending, former.why, present.ended_at) == ("failed", "out of memory", None)
    assert tracking.finish_run(run=again, state=JobState.FAILED, attempt=1, actor=actor).state == JobState.RUNNING
    tracking.write_lines(run=again, lines=[LogLine(number=0, text="second")], actor=actor)
    tracking.write_lines(run=again, lines=[LogLine(number=0, text="first")], attempt=1, actor=actor)
    assert list(Line.objects.filter(job=run).values_list("attempt", "text")) == [(2, "second"), (1, "first")]


def test_a_silent_run_is_shown_so_is_never_lost_and_goes_on(start, actor):
    run = start()
    with later(HOUR):
        assert services.requeue_lost_jobs() == 0
        silent = tracking.find_run(run.pk, actor)
        assert silent.state == JobState.RUNNING
        facts = services.view_of(silent).run
        assert facts is not None
        assert facts.is_silent
        assert feed.status_of(silent)["silent_since"]
        tracking.write_points(run=silent, points=[], actor=actor)
        assert feed.status_of(tracking.find_run(run.pk, actor))["silent_since"] is None


def test_a_silent_run_that_is_cancelled_ends_by_itself(start, actor):
    run, other = start(), start()
    services.cancel_job(job=run, actor=actor)
    assert tracking.end_unheard_runs() == 0
    with later(HOUR):
        assert tracking.end_unheard_runs() == 1
    assert [tracking.find_run(one.pk, actor).state for one in (run, other)] == [JobState.CANCELLED, JobState.RUNNING]


def test_workers_never_see_a_run_and_people_cannot_queue_one(start, actor):
    run = start()
    assert not placement.waiting_jobs()
    tracking.finish_run(run=run, state=JobState.FAILED, actor=actor)
    with pytest.raises(ConflictError, match="steelyard.init"):
        services.resume_job(job=run, actor=actor)
    with pytest.raises(InvalidInputError, match="POST /api/v1/runs"):
        services.clone_job(job=run, changes={}, actor=actor)


def test_a_saved_version_knows_what_it_was_made_of(start, team, owner, actor):
    digits = picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    base = commit_files(make_repository(team, owner, "base"), owner, {"w": b"1"})
    run = start(datasets=[f"{team}/digits"], base=f"{team}/base")
    assert run.spec["datasets"] == [f"{team}/digits@v1"]
    version = commit_files(run.run.project, owner, {"model.safetensors": b"2"})
    for _ in range(2):
        tracking.save_version(run=run, version=version, actor=actor)
    edges = set(LineageEdge.objects.filter(target=version, job=run.pk).values_list("source", "relation"))
    assert edges == {(digits.pk, "trained-on"), (base.pk, "fine-tuned-from")}
    assert Version.objects.get(pk=version.pk).job == run.pk
    assert tracking.find_run(run.pk, actor).result == {"version": f"{team}/shelf@v1"}
    with pytest.raises(InvalidInputError, match="its project"):
        tracking.save_version(run=run, version=base, actor=actor)


def test_expiry_leaves_what_a_run_trains_on(start, team, owner):
    from steelyard_platform.jobs.holds import JobHolder

    digits = picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    start(datasets=[f"{team}/digits"])
    assert list(Version.objects.filter(JobHolder().held(digits.repository), repository=digits.repository)) == [digits]


def test_what_a_run_said_of_itself_changes_by_keys(start, actor):
    run, other = start(config={"lr": 1}, tags={"a": "1", "b": "2"}), start("other")
    tracking.update_run(run=run, config={"lr": 2, "epochs": 3}, tags={"a": None, "c": "3"}, message="warm", actor=actor)
    tracking.update_run(run=run, environment={"gpu": "none"}, git=GitState(commit="ab" * 20), actor=actor)
    changed = tracking.update_run(run=run, name="other", total_steps=10, actor=actor)
    assert (changed.spec["config"], changed.run.tags) == ({"lr": 2, "epochs": 3}, {"b": "2", "c": "3"})
    assert (changed.run.name, changed.message, other.run.name) == ("other-2", "warm", "other")
    tracking.write_points(run=run, points=_points(1.0, step=4), actor=actor)
    assert tracking.find_run(run.pk, actor).progress == 0.5


def test_a_run_of_the_past_stands_at_its_time(start, actor):
    began, ended = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)
    run = start(started_at=began, source="import")
    done = tracking.finish_run(run=run, state=JobState.SUCCEEDED, at=ended, actor=actor)
    view = services.view_of(done)
    assert (view.created_at, view.started_at, view.finished_at) == (began, began, ended)


def test_a_run_of_a_deleted_project_is_told_so(start, actor):
    run = start()
    delete_repository(repository=run.run.project, actor=actor)
    with pytest.raises(RepositoryNotFoundError, match="restore it from the trash"):
        tracking.write_points(run=tracking.find_run(run.pk, actor), points=[], actor=actor)


def test_runs_are_found_and_compared_with_trainings_of_ours(start, team, actor, job):
    run = start("warm-up", config={"epochs": 7, "optimiser": {"name": "sgd"}})
    tracking.write_points(run=run, points=_points(0.5, name="validation/loss"), actor=actor)
    found, _ = find_jobs(actor, Wanted(kind="run", text="warm"), cursor=None, limit=10)
    assert found == [run]
    rows = {row.name: row.values for row in compare_runs([run.pk, job.pk], actor).parameters}
    assert (rows["epochs"], rows["optimiser.name"]) == ([7, job.spec["epochs"]], ["sgd", None])


def test_a_list_of_runs_asks_the_database_no_more_for_more(start, actor, django_assert_num_queries):
    def read():
        found, _ = find_jobs(actor, Wanted(kind="run"), cursor=None, limit=50)
        return [view.run.project for one in found if (view := services.view_of(one)).run is not None]

    start()
    with django_assert_num_queries(2):
        assert len(read()) == 1
    for _ in range(4):
        start()
    with django_assert_num_queries(2):
        assert len(read()) == 5


def test_where_the_code_stood_has_no_password_in_it():
    git = GitState(commit="ab" * 20, remote="https://ada:secret@example.org/lab/shelf.git?token=x")
    assert git.remote == "https://example.org/lab/shelf.git"
    assert GitState(remote="git@example.org:lab/shelf.git").remote == "git@example.org:lab/shelf.git"
