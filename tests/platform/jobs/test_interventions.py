"""Cancel, stop and keep, resume, clone: what people say to a job, and who may."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client

from steelyard_contracts.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from steelyard_contracts.jobs import Finish, Heartbeat, InspectSpec, JobState
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Scope
from steelyard_platform.accounts.tokens import actor_for_user, issue_token
from steelyard_platform.jobs import services
from steelyard_platform.jobs.models import Checkpoint, Job
from steelyard_platform.jobs.requests import merge_patch
from steelyard_platform.repos.models import Repository
from tests.support.factories import commit_files, make_user
from tests.support.jobs import claim, later, save_checkpoint

pytestmark = pytest.mark.django_db
DAY = 86_400


@pytest.fixture
def actor(owner):
    return actor_for_user(owner)


@pytest.fixture
def failed(job):
    """A training that failed after its checkpoint of step 7."""
    _, worker = claim(job)
    save_checkpoint(job, worker, step=7)
    return services.finish_job(job_id=job.pk, actor=worker, finish=Finish(state=JobState.FAILED, error="Wrong."))


def test_a_training_that_is_stopped_hears_it_at_its_heartbeat(job, actor):
    _, worker = claim(job)
    assert not services.heartbeat(job_id=job.pk, actor=worker, beat=Heartbeat()).stop
    assert services.view_of(services.stop_job(job=job, actor=actor)).stop_requested
    answer = services.heartbeat(job_id=job.pk, actor=worker, beat=Heartbeat())
    assert (answer.stop, answer.cancel) == (True, False)
    kept = Finish(state=JobState.SUCCEEDED, result={"version": "v1", "stopped_early": True})
    assert services.view_of(services.finish_job(job_id=job.pk, actor=worker, finish=kept)).stopped_early


def test_what_cannot_be_stopped_says_what_to_do(job, actor, owner):
    with pytest.raises(ConflictError, match="has not begun, so there is nothing to keep; cancel it"):
        services.stop_job(job=job, actor=actor)
    claim(job)
    services.cancel_job(job=job, actor=actor)
    with pytest.raises(ConflictError, match="is being cancelled already"):
        services.stop_job(job=job, actor=actor)
    output = Repository.objects.select_related("team").get(pk=job.repository)
    version = commit_files(output, owner, {"w": b"1"})
    other = services.request_own_job(spec=InspectSpec(model=f"{output.full_name}@{version.label}"))
    with pytest.raises(ConflictError, match="Only a training can be stopped and kept; cancel this inspect job"):
        services.stop_job(job=other, actor=actor)


def test_a_failed_job_goes_on_from_its_checkpoint_with_new_attempts(failed, actor):
    resumed = services.resume_job(job=failed, actor=actor)
    assert (resumed.state, resumed.failures, resumed.error, resumed.finished_at) == (JobState.QUEUED, 0, "", None)
    again, _ = claim(resumed)
    assert (again.attempt, again.checkpoint and again.checkpoint.step) == (2, 7)


def test_only_what_ended_without_success_is_resumed(job, actor):
    with pytest.raises(ConflictError, match="The job is queued: it has not ended"):
        services.resume_job(job=job, actor=actor)
    _, worker = claim(job)
    services.finish_job(job_id=job.pk, actor=worker, finish=Finish(state=JobState.SUCCEEDED))
    with pytest.raises(ConflictError, match="The job is succeeded: clone it to run it once more"):
        services.resume_job(job=job, actor=actor)


def test_a_cancelled_job_is_resumed_and_heeds_no_old_word(job, actor):
    services.cancel_job(job=job, actor=actor)
    resumed = services.resume_job(job=Job.objects.select_related("team").get(pk=job.pk), actor=actor)
    _, worker = claim(resumed)
    answer = services.heartbeat(job_id=job.pk, actor=worker, beat=Heartbeat())
    assert (answer.cancel, answer.stop) == (False, False)


def test_checkpoints_of_ended_jobs_go_after_some_days(failed, actor):
    with later((settings.ENVIRONMENT.checkpoint_days - 1) * DAY):
        assert services.drop_old_checkpoints() == 0
    with later((settings.ENVIRONMENT.checkpoint_days + 1) * DAY):
        assert services.drop_old_checkpoints() == 1
    assert not Checkpoint.objects.exists()
    again, _ = claim(services.resume_job(job=failed, actor=actor))
    assert again.checkpoint is None


def test_a_success_keeps_no_checkpoint(job):
    _, worker = claim(job)
    save_checkpoint(job, worker, step=7)
    services.finish_job(job_id=job.pk, actor=worker, finish=Finish(state=JobState.SUCCEEDED))
    assert not Checkpoint.objects.exists()


def test_a_clone_changes_what_is_said_and_knows_where_it_comes_from(failed, actor):
    clone = services.clone_job(job=failed, changes={"epochs": 20, "branch": "longer"}, actor=actor)
    assert clone.spec == {**failed.spec, "epochs": 20, "branch": "longer"}
    assert services.view_of(clone).cloned_from == failed.pk
    assert list(failed.clones.all()) == [clone]
    asked = AuditRow.objects.filter(action="request job").latest("pk")
    assert asked.detail["cloned_from"] == str(failed.pk)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epocks": 20}, "The changes make no train job: epocks: Extra inputs are not permitted"),
        ({"epochs": 0}, "epochs: Input should be greater than or equal to 1"),
        ({"kind": "evaluate"}, "A clone stays a job of kind 'train'"),
    ],
)
def test_changes_that_make_no_job_are_refused(failed, actor, changes, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        services.clone_job(job=failed, changes=changes, actor=actor)
    assert Job.objects.count() == 1


def test_a_merge_patch_merges_objects_replaces_lists_and_removes_by_null():
    target = {"a": {"b": 1, "c": 2}, "d": [1], "e": "text"}
    assert merge_patch(target, {"a": {"b": None, "x": 3}, "d": [2], "e": {"f": 1}, "g": None}) == {
        "a": {"c": 2, "x": 3},
        "d": [2],
        "e": {"f": 1},
    }


def test_strangers_change_nothing_and_are_told_nothing(failed):
    stranger = actor_for_user(make_user())
    with pytest.raises(NotFoundError, match="or you may not see it"):
        services.find_job(failed.pk, stranger)
    for act in (services.cancel_job, services.stop_job, services.resume_job):
        with pytest.raises(ForbiddenError):
            act(job=failed, actor=stranger)


def test_over_the_api(job, owner):
    _, secret = issue_token(name="ada's", scope=Scope.WRITE, user=owner)
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    home = f"/api/v1/jobs/{job.pk}"

    def post(verb, body=None):
        return client.post(f"{home}/{verb}", body or {}, content_type="application/json")

    assert post("stop").json()["error"]["code"] == "conflict"
    assert post("cancel").json()["state"] == "cancelled"
    assert post("resume").json()["state"] == "queued"
    _, worker = claim(job)
    assert post("stop").json()["stop_requested"] is True
    clone = post("clone", {"changes": {"epochs": 3}})
    assert (clone.status_code, clone.json()["spec"]["epochs"]) == (201, 3)
    assert post("clone", {"changes": {"epochs": -3}}).status_code == 400
    listed = client.get("/api/v1/jobs", {"cloned_from": str(job.pk)}).json()["items"]
    assert [one["id"] for one in listed] == [clone.json()["id"]]
    services.finish_job(job_id=job.pk, actor=worker, finish=Finish(state=JobState.FAILED, error="Wrong."))
    (attempt,) = client.get(f"{home}/attempts").json()["items"]
    assert (attempt["number"], attempt["ending"], attempt["why"]) == (1, "failed", "Wrong.")
