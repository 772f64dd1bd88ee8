"""Searches through the real services; the training alone is played: a worker that posts a known function's values."""

from __future__ import annotations

import math
from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from django.utils import timezone

from steelyard_contracts.errors import (
    ConflictError,
    DatasetUnusableError,
    ForbiddenError,
    NotFoundError,
    RepositoryNotFoundError,
)
from steelyard_contracts.jobs import EvaluationReport, Finish, Heartbeat, JobState, MetricPoint
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.searches import MoreTrials, SearchSpec, SearchState, TrialState
from steelyard_contracts.training import TrainSpec
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Actor, Role, Scope
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import searches, services, trials
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.search_models import Search, Trial
from steelyard_platform.repos.models import Alias, Branch, Repository, TrashItem, Version
from steelyard_platform.repos.revisions import tip_of
from steelyard_platform.repos.services import create_branch, delete_repository
from steelyard_platform.weights.models import Evaluation, Relation
from steelyard_platform.weights.services import record_evaluation, record_lineage
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset

pytestmark = pytest.mark.django_db
WORKER = Actor(name="worker", scope=Scope.WORKER)
SPACE = {
    "learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "weight_decay": {"kind": "float", "low": 0.0, "high": 1.0},
}


@pytest.fixture
def dataset(owner, team):
    return picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)


@pytest.fixture
def ask(owner, team, dataset):
    def request(**fields):
        train = TrainSpec(dataset=f"{team}/digits", output=f"{team}/reader", epochs=4)
        wanted = {"train": train, "space": SPACE, "trials": 4, "pruner": None, "seed": 1, **fields}
        search = searches.request_search(spec=SearchSpec.model_validate(wanted), actor=actor_for_user(owner))
        trials.advance_search(search.pk)
        return searches.again(search)

    return request


def score(params):
    return 0.9 - (math.log10(params["learning_rate"]) + 2) ** 2 / 20 - (params["weight_decay"] - 0.3) ** 2 / 4


def begin(job):
    return actor_for_secret(services.claim_job(job_id=job.pk, worker="host:1", actor=WORKER).token)


def report(job, actor, values, first=1):
    points = [
        MetricPoint(name="validation/accuracy", step=10 * place, value=value)
        for place, value in enumerate(values, first)
    ]
    services.write_metrics(job_id=job.pk, actor=actor, points=points)


def commit_for(job, owner, data=b"weights"):
    """As a recipe does: onto the trial's own branch, with a measure and where it came from."""
    output = Repository.objects.select_related("team").get(pk=job.repository)
    create_branch(repository=output, name=job.spec["branch"], start=None, sees_base=False, actor=actor_for_user(owner))
    made = commit_files(output, owner, {"model.safetensors": data}, branch=job.spec["branch"])
    Version.objects.filter(pk=made.pk).update(job=job.pk)
    return made, f"{output.full_name}@{made.label}"


def train(job, owner, dataset):
    """A worker's whole day: claims the trial, reports a rising curve, commits and finishes."""
    actor, value = begin(job), score(job.spec)
    report(job, actor, [value - 0.2, value - 0.1, value])
    made, label = commit_for(job, owner, f"weights {job.trial}".encode())
    measured = EvaluationReport(
        model=label, dataset=job.spec["dataset"], runtime="torch-cpu", metrics={"accuracy": value}
    )
    record_evaluation(version=made, dataset=dataset, report=measured, job=job.pk)
    record_lineage(source=dataset, target=made, relation=Relation.TRAINED_ON, job=job.pk)
    done = Finish(state=JobState.SUCCEEDED, result={"version": label, "accuracy": value})
    services.finish_job(job_id=job.pk, actor=actor, finish=done)


def queued(search):
    return list(Job.objects.filter(search=search, state=JobState.QUEUED).order_by("trial"))


def work_off(search, owner, dataset):
    while found := queued(search):
        for job in found:
            train(job, owner, dataset)
        trials.advance_search(search.pk)
    return searches.again(search)


def fail(job, error="The loss became NaN at step 3."):
    services.finish_job(job_id=job.pk, actor=begin(job), finish=Finish(state=JobState.FAILED, error=error))


def states(search):
    return list(Trial.objects.filter(search=search).order_by("number").values_list("state", flat=True))


def test_a_search_from_its_first_trial_to_the_best_version_on_main(ask, owner, team, dataset):
    earlier = commit_files(make_repository(team, owner, "reader"), owner, {"old.txt": b"1", "model.safetensors": b"0"})
    search = ask(parallel=2, promote_to="candidate", resources={"labels": ["cpu"]})
    first = queued(search)
    assert services.view_of(first[0]).resources.labels == ["cpu"]
    assert [job.trial for job in first] == [1, 2]
    assert first[0].spec["dataset"] == f"{team}/digits@v1"
    assert services.view_of(first[1]).search == search.pk
    done = work_off(search, owner, dataset)
    assert (done.state, states(search)) == (SearchState.SUCCEEDED, [TrialState.COMPLETE] * 4)
    best = Trial.objects.filter(search=search).latest("value")
    view = searches.view_of(done)
    assert view.best is not None
    assert view.best.number == best.number
    assert view.best.value == pytest.approx(score(best.params))
    # Main has the best version's files and no others, with what was measured of them; nothing else is left.
    output = Repository.objects.select_related("team").get(pk=done.repository)
    main = tip_of(Branch.objects.get(repository=output, name="main"))
    assert main is not None
    assert main.parent == earlier
    assert (done.version, best.version) == (f"{team}/reader@{main.label}",) * 2
    assert main.file_count == 1
    assert Evaluation.objects.get(version=main).metrics == {"accuracy": best.value}
    assert set(main.ancestors.values_list("relation", flat=True)) == {Relation.TRAINED_ON, Relation.EVALUATED_ON}
    assert list(Branch.objects.filter(repository=output).values_list("name", flat=True)) == ["main"]
    assert TrashItem.objects.filter(repository=output).count() == 4
    assert Alias.objects.get(repository=output, name="candidate").version == main
    before = AuditRow.objects.count()
    trials.advance_searches()
    assert AuditRow.objects.count() == before


def test_a_beaten_trials_branch_goes_as_soon_as_it_is_beaten_and_all_stay_when_asked(ask, owner, dataset):
    search = ask(trials=6)
    seen = set()
    while found := queued(search):
        train(found[0], owner, dataset)
        trials.advance_search(search.pk)
        there = Branch.objects.filter(repository=search.repository, name__startswith="search-")
        seen.add(there.count())
    assert seen == {1, 0}  # the best so far, and none once it is on main
    kept = work_off(ask(keep="all", trials=3), owner, dataset)
    branches = Branch.objects.filter(repository=kept.repository, name__startswith=kept.branches)
    assert branches.count() == 3


def test_metrics_end_a_bad_trial_and_its_job_says_that_it_was_pruned(ask, owner, dataset):
    search = ask(trials=3, pruner={"kind": "median", "startup_trials": 1, "warmup_reports": 1})
    train(queued(search)[0], owner, dataset)
    trials.advance_search(search.pk)
    (job,) = queued(search)
    actor = begin(job)
    report(job, actor, [0.1])
    trials.advance_searches()
    assert not services.heartbeat(job_id=job.pk, actor=actor, beat=Heartbeat()).cancel
    report(job, actor, [0.15, 0.2], first=2)
    trials.advance_searches()
    assert services.heartbeat(job_id=job.pk, actor=actor, beat=Heartbeat()).cancel
    trials.advance_searches()
    assert states(search) == [TrialState.COMPLETE, TrialState.RUNNING]
    services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.CANCELLED))
    trials.advance_searches()
    trial = Trial.objects.get(search=search, number=2)
    assert (trial.state, trial.value, trial.reason) == (TrialState.PRUNED, 0.2, "pruned at report 2")
    ended = Job.objects.get(pk=job.pk)
    assert (ended.state, ended.message) == (JobState.CANCELLED, "pruned at report 2")
    assert len(states(search)) == 3  # and another one has begun


def test_a_trial_that_ends_before_it_hears_that_it_was_pruned_counts(ask, owner, dataset):
    search = ask(trials=3, pruner={"kind": "median", "startup_trials": 1, "warmup_reports": 0})
    train(queued(search)[0], owner, dataset)
    trials.advance_search(search.pk)
    (job,) = queued(search)
    actor = begin(job)
    report(job, actor, [0.1])
    trials.advance_search(search.pk)
    done = Finish(state=JobState.SUCCEEDED, result={"accuracy": 0.99})
    services.finish_job(job_id=job.pk, actor=actor, finish=done)
    trials.advance_search(search.pk)
    second = Trial.objects.get(search=search, number=2)
    assert (second.state, second.value, second.reason) == (TrialState.COMPLETE, 0.99, "")


def test_whoever_goes_on_after_a_crash_asks_for_the_same_and_for_nothing_twice(ask, owner, dataset, monkeypatch):
    expected = work_off(ask(trials=5), owner, dataset)
    params = list(Trial.objects.filter(search=expected).order_by("number").values_list("params", flat=True))
    search = ask(trials=5)
    train(queued(search)[0], owner, dataset)

    def crash(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(services, "request_job", crash)
    with pytest.raises(KeyboardInterrupt):
        trials.advance_search(search.pk)
    monkeypatch.undo()
    assert (searches.again(search).asked, states(search)) == (1, [TrialState.COMPLETE])
    for _ in range(2):
        trials.advance_searches()
    assert searches.again(search).asked == 2
    work_off(search, owner, dataset)
    again = list(Trial.objects.filter(search=search).order_by("number").values_list("params", flat=True))
    assert again == params


def test_a_controller_that_lost_the_race_makes_no_trial(ask):
    search = ask(trials=3, parallel=3)
    stale = Search.objects.get(pk=search.pk)
    assert trials._begin(stale, searches.spec_of(stale), 3, {}, TrainSpec(dataset="a/b", output="a/c")) is False
    assert Trial.objects.filter(search=search).count() == 3


def test_a_trial_whose_job_somebody_resumes_counts_again(ask, owner, dataset):
    search = ask(trials=2)
    fail(queued(search)[0])
    trials.advance_search(search.pk)
    assert states(search) == [TrialState.FAILED, TrialState.RUNNING]
    services.resume_job(job=Job.objects.get(search=search, trial=1), actor=actor_for_user(owner))
    trials.advance_search(search.pk)
    assert states(search) == [TrialState.RUNNING, TrialState.RUNNING]
    assert work_off(search, owner, dataset).state == SearchState.SUCCEEDED
    assert states(search) == [TrialState.COMPLETE, TrialState.COMPLETE]


def test_failures_in_a_row_end_the_search_with_the_cause(ask, owner, dataset):
    search = ask(trials=10, parallel=2, most_failures=3)
    fail(queued(search)[0])
    trials.advance_search(search.pk)
    train(queued(search)[0], owner, dataset)
    trials.advance_search(search.pk)  # one that completes begins the count again
    for _ in range(3):
        fail(queued(search)[0])
        trials.advance_search(search.pk)
    ended = searches.again(search)
    assert ended.state == SearchState.FAILED
    assert ended.message == "3 trials in a row failed. The last: The loss became NaN at step 3."
    assert queued(search) == []
    trials.advance_searches()
    assert set(states(search)) == {TrialState.FAILED, TrialState.COMPLETE, TrialState.CANCELLED}
    assert ended.best is not None
    assert Branch.objects.filter(repository=search.repository, name__startswith=search.branches).count() == 1


def test_a_search_whose_data_is_gone_ends_with_the_reason(ask, owner, dataset):
    search = ask(trials=10)
    fail(queued(search)[0])
    delete_repository(repository=dataset.repository, actor=actor_for_user(owner))
    trials.advance_search(search.pk)
    ended = searches.again(search)
    assert ended.state == SearchState.FAILED
    assert ended.message.startswith("Trial 2 could not be asked for: There is no dataset")


def test_values_that_do_not_go_together_are_failed_trials_that_say_why(ask, team):
    train = TrainSpec.model_validate({"dataset": f"{team}/digits", "output": f"{team}/reader", "optimizer": "sgd"})
    only = {"nesterov": {"kind": "choices", "choices": [True]}, "optimizer": {"kind": "choices", "choices": ["adamw"]}}
    search = ask(train=train, space=only, most_failures=2)
    first = Trial.objects.get(search=search, number=1)
    assert (first.state, first.job) == (TrialState.FAILED, None)
    assert "nesterov is a kind of SGD's momentum" in first.reason
    assert (search.state, search.asked) == (SearchState.FAILED, 2)
    assert search.message.startswith("2 trials in a row failed. The last: ")


def test_a_search_that_cannot_be_read_keeps_no_other_from_going_on(ask):
    broken, whole = ask(), ask(trials=2)
    Search.objects.filter(pk=broken.pk).update(spec={"of": "another time"})
    services.cancel_job(job=queued(whole)[0], actor=searches.STEWARD)
    trials.advance_searches()
    assert states(whole) == [TrialState.CANCELLED, TrialState.RUNNING]


def test_a_metric_that_no_training_reports_says_so(ask, owner, dataset):
    search = ask(metric="validation/recall", most_failures=1)
    train(queued(search)[0], owner, dataset)
    trials.advance_search(search.pk)
    assert "succeeded without a number for 'validation/recall'" in searches.again(search).message


def test_stop_lets_the_running_trials_end_and_resume_goes_on(ask, owner, dataset):
    actor = actor_for_user(owner)
    search = ask(trials=3, parallel=2)
    assert searches.stop_search(search=search, actor=actor).state == SearchState.STOPPING
    stopped = work_off(search, owner, dataset)
    assert (stopped.state, len(states(search))) == (SearchState.STOPPED, 2)
    assert stopped.version
    with pytest.raises(ConflictError, match="The search is stopped already"):
        searches.stop_search(search=search, actor=actor)
    assert searches.resume_search(search=stopped, more=MoreTrials(trials=2), actor=actor).state == SearchState.RUNNING
    trials.advance_search(search.pk)
    done = work_off(search, owner, dataset)
    assert (done.state, len(states(search))) == (SearchState.SUCCEEDED, 5)
    assert done.best is not None
    assert done.version == done.best.version
    with pytest.raises(ConflictError, match="has had all its 5 trials: say how many trials more"):
        searches.resume_search(search=done, more=MoreTrials(), actor=actor)


def test_cancel_ends_the_trials_too(ask, owner):
    search = ask(trials=5, parallel=2)
    running = queued(search)[0]
    worker = begin(running)
    cancelled = searches.cancel_search(search=search, actor=actor_for_user(owner))
    assert cancelled.state == SearchState.CANCELLED
    assert services.heartbeat(job_id=running.pk, actor=worker, beat=Heartbeat()).cancel
    services.finish_job(job_id=running.pk, actor=worker, finish=Finish(state=JobState.CANCELLED))
    trials.advance_searches()
    assert states(search) == [TrialState.CANCELLED] * 2
    assert searches.again(search).state == SearchState.CANCELLED


def test_after_its_time_no_trial_begins(ask, owner, dataset):
    search = ask(time_limit_hours=1)
    with time_machine.travel(timezone.now() + timedelta(hours=1.1), tick=True):
        trials.advance_search(search.pk)
        train(queued(search)[0], owner, dataset)
        trials.advance_search(search.pk)
    ended = searches.again(search)
    assert (ended.state, len(states(search))) == (SearchState.STOPPED, 1)
    assert ended.message == "The time limit of 1 hours is over."


def test_a_gate_that_refuses_the_best_version_is_told_and_the_search_has_succeeded(ask, owner, team, dataset):
    from steelyard_platform.weights.services import add_gate

    repository = make_repository(team, owner, "reader")
    rule = f"accuracy >= 2 on {team}/digits@v1"
    add_gate(repository=repository, text=rule, applies_to="candidate", actor=actor_for_user(owner))
    done = work_off(ask(trials=1, promote_to="candidate"), owner, dataset)
    assert (done.state, done.is_due) == (SearchState.SUCCEEDED, False)
    assert "cannot become 'candidate'" in done.message
    assert done.version


def test_who_may_ask_see_and_stop(ask, owner, team, dataset):
    search, stranger, reader = ask(), make_user(), make_user()
    set_role(team=team, username=reader.username, role=Role.READER, actor=actor_for_user(owner))
    with pytest.raises(NotFoundError, match="or you may not see it"):
        searches.find_search(search.pk, actor_for_user(stranger))
    with pytest.raises(NotFoundError):
        searches.find_search(uuid4(), actor_for_user(owner))
    assert searches.find_search(search.pk, actor_for_user(reader)) == search
    for act in (searches.stop_search, searches.cancel_search):
        with pytest.raises(ForbiddenError):
            act(search=search, actor=actor_for_user(reader))
    assert not searches.visible_searches(actor_for_user(stranger)).exists()
    spec = searches.spec_of(search)
    theirs = spec.train.model_copy(update={"output": f"{stranger.username}/reader"})
    with pytest.raises(RepositoryNotFoundError):
        searches.request_search(spec=spec.model_copy(update={"train": theirs}), actor=actor_for_user(stranger))


def test_a_search_on_an_unusable_dataset_is_refused_before_it_begins(ask, owner, team):
    commit_files(make_repository(team, owner, "odd", RepositoryKind.DATASET), owner, {"README.md": b"#"})
    with pytest.raises(DatasetUnusableError):
        ask(train=TrainSpec(dataset=f"{team}/odd", output=f"{team}/reader"))
    assert not Search.objects.exists()
