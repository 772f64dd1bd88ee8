"""Attempts: each is a row that says how it ended; the curve of several is one curve."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.conf import settings

from steelyard_contracts.errors import AuthenticationError, ConflictError, LeaseLostError
from steelyard_contracts.jobs import AttemptEnd, Finish, Heartbeat, JobState, LogLine, MetricPoint
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import series, services
from steelyard_platform.jobs.models import Attempt, Checkpoint, Job
from steelyard_platform.jobs.models import LogLine as LogRow
from steelyard_platform.repos.models import Repository
from steelyard_platform.storage.services import object_store
from tests.support.factories import commit_files
from tests.support.jobs import WORKER, after_the_lease, claim, later, save_checkpoint

pytestmark = pytest.mark.django_db


def losses(steps, value=1.0):
    return [MetricPoint(name="train/loss", step=step, value=value * step) for step in steps]


def curve(job):
    (found,) = series.read_series(job.pk)
    return dict(zip(found.steps, found.values, strict=True))


def state_of(job):
    return Job.objects.get(pk=job.pk).state


def test_a_job_is_claimed_then_runs_then_uploads(job):
    _, actor = claim(job)
    services.heartbeat(job_id=job.pk, actor=actor, beat=Heartbeat())
    assert state_of(job) == JobState.CLAIMED  # a supervisor that lives is no work that has begun
    services.write_log(job_id=job.pk, actor=actor, lines=[LogLine(number=0, text="fetching")])
    assert state_of(job) == JobState.RUNNING
    services.heartbeat(job_id=job.pk, actor=actor, beat=Heartbeat(state=JobState.UPLOADING))
    services.write_metrics(job_id=job.pk, actor=actor, points=losses([1]))
    assert state_of(job) == JobState.UPLOADING
    services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.SUCCEEDED))
    (attempt,) = Attempt.objects.filter(job=job)
    assert (attempt.number, attempt.worker, attempt.ending) == (1, "host:1", AttemptEnd.SUCCEEDED)
    assert attempt.ended_at is not None


def test_whatever_a_worker_writes_keeps_its_lease(job):
    _, actor = claim(job)
    half = settings.ENVIRONMENT.lease_seconds * 0.7
    for number in (1, 2, 3):
        with later(half * number):
            services.write_metrics(job_id=job.pk, actor=actor, points=losses([number]))
            assert services.requeue_lost_jobs() == 0


def test_after_a_loss_the_curve_is_one_curve(job):
    _, former = claim(job)
    services.write_metrics(job_id=job.pk, actor=former, points=losses(range(1, 8)))
    save_checkpoint(job, former, step=4)
    services.write_metrics(job_id=job.pk, actor=former, points=losses(range(8, 10)))
    with after_the_lease():
        again, actor = claim(job)
        assert again.checkpoint is not None
        assert again.checkpoint.step == 4
        assert sorted(curve(job)) == [1, 2, 3, 4]
        with pytest.raises(LeaseLostError):
            services.write_metrics(job_id=job.pk, actor=former, points=losses([10]))
        services.write_metrics(job_id=job.pk, actor=actor, points=losses(range(5, 7), value=2.0))
    assert curve(job) == {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 10.0, 6: 12.0}
    rows = [(one.number, one.ending, one.resumed_from) for one in Attempt.objects.filter(job=job).order_by("number")]
    assert rows == [(1, AttemptEnd.LOST, None), (2, "", 4)]


def test_without_a_checkpoint_the_curve_begins_anew(job):
    _, former = claim(job)
    services.write_metrics(job_id=job.pk, actor=former, points=losses(range(1, 8)))
    with after_the_lease():
        claim(job)
    assert series.read_series(job.pk) == []


def test_no_line_of_any_attempt_is_lost(job):
    for number in (1, 2):
        _, actor = claim(job)
        services.write_log(job_id=job.pk, actor=actor, lines=[LogLine(number=0, text=f"attempt {number}")])
        released = Finish(state=JobState.FAILED, error="The worker was told to stop.", released=True)
        services.finish_job(job_id=job.pk, actor=actor, finish=released)
    assert [row.text for row in LogRow.objects.filter(job=job).order_by("pk")] == ["attempt 1", "attempt 2"]


def test_a_claim_whose_answer_was_lost_is_answered_again(job):
    key = uuid4()
    first = services.claim_job(job_id=job.pk, worker="host:1", actor=WORKER, key=key)
    again = services.claim_job(job_id=job.pk, worker="host:1", actor=WORKER, key=key)
    assert again.attempt == first.attempt == 1
    with pytest.raises(AuthenticationError):
        actor_for_secret(first.token)
    actor = actor_for_secret(again.token)
    with pytest.raises(ConflictError):
        services.claim_job(job_id=job.pk, worker="host:2", actor=WORKER, key=uuid4())
    services.write_metrics(job_id=job.pk, actor=actor, points=losses([1]))
    with pytest.raises(ConflictError):  # it has begun: a repeat can only come from a worker that is gone
        services.claim_job(job_id=job.pk, worker="host:1", actor=WORKER, key=key)


def test_a_checkpoint_that_counts_goes_on_counting_while_it_is_sent_again(job):
    _, former = claim(job)
    offer = save_checkpoint(job, former, step=3)
    with after_the_lease():
        _, actor = claim(job)
        services.offer_checkpoint(job_id=job.pk, actor=actor, offer=offer)
    assert services.checkpoint_of(job) is not None


def test_a_checkpoint_that_was_cut_short_never_counts_and_goes_with_the_job(job):
    _, actor = claim(job)
    save_checkpoint(job, actor, step=3)
    from steelyard_contracts.jobs import CheckpointOffer
    from steelyard_platform.jobs.checkpoints import checkpoint_key

    half = CheckpointOffer(step=5, size=10, sha256="0" * 64)
    services.offer_checkpoint(job_id=job.pk, actor=actor, offer=half)
    object_store().put(checkpoint_key(job, half), [b"half"])
    services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.FAILED, error="Wrong."))
    assert [one.step for one in Checkpoint.objects.filter(job=job)] == [3]


def test_a_cancelled_job_says_what_it_left_behind(job, owner, team):
    _, actor = claim(job)
    output = Repository.objects.select_related("team").get(pk=Job.objects.get(pk=job.pk).repository)
    version = commit_files(output, owner, {"w": b"1"})
    type(version).objects.filter(pk=version.pk).update(job=job.pk)
    services.cancel_job(job=job, actor=actor_for_user(owner))
    ended = services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.CANCELLED))
    assert ended.result == {"committed": [f"{team}/reader@v1"]}
