"""The job protocol: one worker at a time, every write fenced by the lease, nothing doubled."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.conf import settings

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import (
    AuthenticationError,
    ConflictError,
    DatasetUnusableError,
    DigestMismatchError,
    ForbiddenError,
    InvalidInputError,
    LeaseLostError,
    NotFoundError,
    RepositoryNotFoundError,
)
from steelyard_contracts.jobs import (
    CheckpointOffer,
    EvaluateSpec,
    Finish,
    Heartbeat,
    JobState,
    LogLine,
    MetricPoint,
)
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import TrainSpec
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import series, services
from steelyard_platform.jobs.checkpoints import checkpoint_key
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.models import LogLine as LogRow
from steelyard_platform.jobs.series_tables import LoosePoint
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.services import delete_repository, move_alias
from steelyard_platform.storage.services import object_store
from tests.support.factories import commit_files, make_repository, make_team, make_user, picture_dataset
from tests.support.jobs import WORKER, after_the_lease, claim, later, save_checkpoint

pytestmark = pytest.mark.django_db


def test_references_are_pinned_when_the_job_is_asked_for(job, team):
    assert job.spec["dataset"] == f"{team}/digits@v1"
    assert job.state == JobState.QUEUED


def test_of_two_workers_one_gets_the_job(job):
    claim(job)
    with pytest.raises(ConflictError, match="claimed by another worker"):
        claim(job)


def test_only_a_workers_token_claims(job, owner):
    with pytest.raises(ForbiddenError, match="Jobs are claimed with a worker's token"):
        services.claim_job(job_id=job.pk, worker="x", actor=actor_for_user(owner))


def test_the_jobs_token_opens_what_its_spec_names_and_no_more(job, owner, team, dataset):
    make_repository(team, owner, "unrelated", public=True)
    _, actor = claim(job)
    home = Job.objects.get(pk=job.pk).repository
    wanted = {(dataset.repository_id, Action.READ), (home, Action.READ), (home, Action.WRITE)}
    assert actor.grants == wanted


def test_a_silent_workers_job_goes_on_elsewhere_and_the_former_one_writes_nothing(job):
    first, former = claim(job)
    with later(settings.ENVIRONMENT.lease_seconds + 1):
        assert services.requeue_lost_jobs() == 1
        with pytest.raises(LeaseLostError):
            services.heartbeat(job_id=job.pk, actor=former, beat=Heartbeat())
        with pytest.raises(AuthenticationError):
            actor_for_secret(first.token)
        second, now = claim(job)
        assert (first.attempt, second.attempt) == (1, 2)
        services.heartbeat(job_id=job.pk, actor=now, beat=Heartbeat(progress=0.5))


def test_a_job_that_is_lost_too_often_is_lost(job):
    for attempt in range(settings.ENVIRONMENT.max_attempts):
        with later((attempt + 1) * 1000):
            claim(job)
        with later((attempt + 1) * 1000 + settings.ENVIRONMENT.lease_seconds + 1):
            services.requeue_lost_jobs()
    lost = Job.objects.get(pk=job.pk)
    assert lost.state == JobState.LOST
    assert "went silent 3 times" in lost.error
    with pytest.raises(ConflictError):
        claim(job)


def test_heartbeats_keep_the_lease(job):
    _, actor = claim(job)
    half = settings.ENVIRONMENT.lease_seconds * 0.7
    with later(half):
        services.heartbeat(job_id=job.pk, actor=actor, beat=Heartbeat())
    with later(2 * half):
        assert services.requeue_lost_jobs() == 0


def test_metrics_and_logs_sent_twice_count_once(job):
    claim(job)
    points = [MetricPoint(name="train/loss", step=n, value=n / 2) for n in range(10)]
    lines = [LogLine(number=n, text=f"line {n}") for n in range(3)]
    for _ in range(2):
        series.write_points(job.pk, points)
        series.write_lines(job.pk, 1, lines)
    assert LoosePoint.objects.filter(series__job=job).count() == 10
    assert LogRow.objects.filter(job=job).count() == 3
    found = series.read_series(job.pk)
    assert (found[0].name, found[0].steps, found[0].values[-1]) == ("train/loss", list(range(10)), 4.5)
    assert series.last_values(job.pk) == {"train/loss": 4.5}


def test_a_checkpoint_counts_once_its_bytes_are_checked(job):
    _, actor = claim(job)
    data = b"optimizer state"
    offer = CheckpointOffer(step=3, size=len(data), sha256=sha256_of(data))
    services.offer_checkpoint(job_id=job.pk, actor=actor, offer=offer)
    key = checkpoint_key(job, offer)
    object_store().put(key, [b"something else!"])
    with pytest.raises(DigestMismatchError):
        services.save_checkpoint(job_id=job.pk, actor=actor, offer=offer)
    assert services.checkpoint_of(job) is None
    object_store().put(key, [data])
    services.save_checkpoint(job_id=job.pk, actor=actor, offer=offer)
    with later(settings.ENVIRONMENT.lease_seconds + 1):
        services.requeue_lost_jobs()
        again, actor = claim(job)
    assert again.checkpoint is not None
    assert again.checkpoint.step == 3
    assert b"".join(services.read_checkpoint(job_id=job.pk, actor=actor)) == data


def test_a_job_ends_once_and_the_last_word_may_be_repeated(job):
    claimed, actor = claim(job)
    done = Finish(state=JobState.SUCCEEDED, result={"accuracy": 0.9})
    assert services.finish_job(job_id=job.pk, actor=actor, finish=done).state == JobState.SUCCEEDED
    again = services.finish_job(job_id=job.pk, actor=actor_for_secret(claimed.token), finish=done)
    assert (again.state, again.result) == (JobState.SUCCEEDED, {"accuracy": 0.9})
    with pytest.raises(LeaseLostError, match="The job is succeeded"):
        services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.CANCELLED))
    assert AuditRow.objects.filter(action="finish job", target=str(job.pk)).count() == 1


def test_a_failure_that_may_pass_is_tried_again_and_another_is_not(job):
    _, actor = claim(job)
    lost = Finish(state=JobState.FAILED, error="The network is gone.", retryable=True)
    waiting = services.finish_job(job_id=job.pk, actor=actor, finish=lost)
    assert waiting.state == JobState.QUEUED
    with pytest.raises(ConflictError, match="waits for a pause to end"):
        claim(job)
    with later(settings.ENVIRONMENT.retry_pause_seconds + 1):
        _, actor = claim(job)
    wrong = Finish(state=JobState.FAILED, error="The picture is broken.")
    ended = services.finish_job(job_id=job.pk, actor=actor, finish=wrong)
    assert (ended.state, ended.error) == (JobState.FAILED, "The picture is broken.")


def test_a_worker_that_is_told_to_stop_gives_the_job_back_without_counting(job):
    for number in range(1, settings.ENVIRONMENT.max_attempts + 2):
        found, actor = claim(job)
        assert found.attempt == number
        released = Finish(state=JobState.FAILED, error="The worker was told to stop.", released=True)
        assert services.finish_job(job_id=job.pk, actor=actor, finish=released).state == JobState.QUEUED


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_told_at_its_heartbeat(job, owner, team):
    actor = actor_for_user(owner)
    _, worker = claim(job)
    assert not services.heartbeat(job_id=job.pk, actor=worker, beat=Heartbeat()).cancel
    assert services.cancel_job(job=job, actor=actor).state == JobState.CLAIMED
    assert services.heartbeat(job_id=job.pk, actor=worker, beat=Heartbeat()).cancel
    spec = TrainSpec(dataset=f"{team}/digits", output=f"{team}/reader")
    queued = services.request_job(spec=spec, actor=actor)
    assert services.cancel_job(job=queued, actor=actor).state == JobState.CANCELLED
    with pytest.raises(ConflictError, match="is cancelled already"):
        services.cancel_job(job=queued, actor=actor)


def test_an_attempt_learns_what_the_former_one_committed(job, owner, team):
    claim(job)
    output = Repository.objects.select_related("team").get(pk=Job.objects.get(pk=job.pk).repository)
    version = commit_files(output, owner, {"w": b"1"})
    type(version).objects.filter(pk=version.pk).update(job=job.pk)
    with later(settings.ENVIRONMENT.lease_seconds + 1):
        services.requeue_lost_jobs()
        again, _ = claim(job)
    assert [(one.repository, one.version, one.branch) for one in again.committed] == [(f"{team}/reader", "v1", "main")]


def test_a_job_whose_data_is_gone_fails_with_the_reason(job, owner, dataset):
    delete_repository(repository=dataset.repository, actor=actor_for_user(owner))
    with pytest.raises(ConflictError, match="This job cannot be done any more: There is no dataset"):
        claim(job)
    failed = Job.objects.get(pk=job.pk)
    assert failed.state == JobState.FAILED
    assert failed.error.startswith("There is no dataset")


def test_a_cancelled_job_is_not_tried_again(job, owner):
    _, worker = claim(job)
    services.cancel_job(job=job, actor=actor_for_user(owner))
    lost = Finish(state=JobState.FAILED, error="The network is gone.", retryable=True)
    assert services.finish_job(job_id=job.pk, actor=worker, finish=lost).state == JobState.CANCELLED


@pytest.mark.parametrize(
    ("files", "sentence"),
    [({"README.md": b"#"}, "holds no images"), ({"train/a/1.png": b"1", "validation/a/1.png": b"2"}, "has one class")],
)
def test_a_job_on_an_unusable_dataset_is_refused_before_it_queues(owner, team, files, sentence):
    commit_files(make_repository(team, owner, "odd", RepositoryKind.DATASET), owner, files)
    with pytest.raises(DatasetUnusableError, match=sentence):
        services.request_job(
            spec=TrainSpec(dataset=f"{team}/odd", output=f"{team}/reader"), actor=actor_for_user(owner)
        )
    assert not Job.objects.exists()


def test_a_job_cannot_name_what_its_requester_may_not_read(owner, dataset):
    stranger = make_user()
    spec = TrainSpec(dataset=f"{dataset.repository.full_name}", output=f"{stranger.username}/reader")
    with pytest.raises(RepositoryNotFoundError, match="or you may not read it"):
        services.request_job(spec=spec, actor=actor_for_user(stranger))


def test_asking_for_a_job_tells_nobody_what_exists(owner, team):
    make_repository(team, owner, "secret")
    stranger = make_user()
    theirs = make_team(stranger)
    picture_dataset(make_repository(theirs, stranger, "digits", RepositoryKind.DATASET), stranger)
    said = []
    for name in ("secret", "nothing"):
        spec = TrainSpec(dataset=f"{theirs}/digits", output=f"{team}/{name}")
        with pytest.raises(ForbiddenError) as refusal:
            services.request_job(spec=spec, actor=actor_for_user(stranger))
        said.append(str(refusal.value))
    assert said[0] == said[1]


def test_a_jobs_token_adds_versions_and_moves_no_names(job, owner):
    _, actor = claim(job)
    output = Repository.objects.select_related("team").get(pk=Job.objects.get(pk=job.pk).repository)
    version = commit_files(output, owner, {"w": b"1"})
    with pytest.raises(ForbiddenError, match="names are moved and deleted by people"):
        move_alias(version=version, name="production", reason="", verdicts=[], actor=actor)


def test_a_commit_of_a_job_that_lost_its_lease_is_not_made(job, owner):
    from steelyard_platform.repos import commits

    _, former = claim(job)
    output = Repository.objects.select_related("team").get(pk=Job.objects.get(pk=job.pk).repository)
    with later(settings.ENVIRONMENT.lease_seconds + 1):
        claim(job)
    with pytest.raises(LeaseLostError, match="this commit was not made"):
        commits.commit(
            repository=output,
            branch_name="main",
            operations=[],
            message=commits.Message("late"),
            actor=former,
        )


def test_a_dataset_is_no_model(owner, team, dataset):
    spec = EvaluateSpec(model=f"datasets:/{team}/digits", dataset=f"{team}/digits")
    with pytest.raises(InvalidInputError, match="names a dataset; a model is needed here"):
        services.request_job(spec=spec, actor=actor_for_user(owner))


def test_a_strangers_job_looks_like_none(job):
    for actor in (actor_for_user(make_user()), WORKER):
        with pytest.raises(NotFoundError, match="or you may not see it"):
            services.find_job(job.pk, actor)
    with pytest.raises(NotFoundError):
        services.find_job(uuid4(), WORKER)


def test_progress_never_goes_back_but_for_a_job_that_begins_anew(job):
    def after_saying(actor, share):
        services.heartbeat(job_id=job.pk, actor=actor, beat=Heartbeat(progress=share))
        job.refresh_from_db()
        return job.progress

    _, actor = claim(job)
    save_checkpoint(job, actor, step=4)
    assert after_saying(actor, 0.5) == 0.5
    assert after_saying(actor, 0.01) == 0.5  # it fetches its data again
    with after_the_lease():
        services.requeue_lost_jobs()
        _, actor = claim(job)
        assert after_saying(actor, 0.01) == 0.5
        job.checkpoints.all().delete()
    with later(3600):
        services.requeue_lost_jobs()
        _, actor = claim(job)
        assert after_saying(actor, 0.01) == 0.01
