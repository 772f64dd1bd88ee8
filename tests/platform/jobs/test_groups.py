"""Trainings on several machines: who is asked for, what they may do, and what becomes of a group that loses one."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import AuthenticationError, ConflictError, InvalidInputError, LeaseLostError
from steelyard_contracts.jobs import AttemptEnd, EvaluateSpec, Finish, Heartbeat, JobState, JoinSpec, Rendezvous
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.workers import NextJobRequest, Resources
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import services, waiting
from steelyard_platform.jobs.models import Attempt, Job
from tests.support.jobs import after_the_lease, claim_at, save_checkpoint, worker_of

pytestmark = pytest.mark.django_db
HERE = Rendezvous(address="10.0.0.7", port=29_500)


@pytest.fixture
def machines(team):
    return [worker_of(team, name) for name in ("north", "south", "west")]


@pytest.fixture
def spread(job, owner, machines):
    """A training on two machines."""
    spec = TrainSpec.model_validate(job.spec)
    return services.request_job(spec=spec, actor=actor_for_user(owner), resources=Resources(hosts=2))


@pytest.fixture
def led(spread, machines):
    """(claim, actor) of the machine that leads, which has said where it is."""
    claim, actor = claim_at(spread, machines[0])
    services.open_group(job_id=spread.pk, actor=actor, rendezvous=HERE)
    return claim, actor


def companion_of(job):
    return Job.objects.filter(leader=job).latest("created_at")


def state_of(job):
    return Job.objects.get(pk=job.pk).state


def last_attempt(job):
    return Attempt.objects.filter(job=job).latest("number")


def finish(job, actor, state=JobState.FAILED, **fields):
    return services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=state, **fields))


def test_a_machine_is_asked_for_and_told_where_to_go(spread, led, machines):
    save_checkpoint(spread, led[1], 7)
    companion = companion_of(spread)
    claim, actor = claim_at(companion, machines[1])
    assert isinstance(claim.spec, JoinSpec)
    assert (claim.spec.leader, claim.spec.node, claim.spec.hosts, claim.spec.rendezvous) == (spread.pk, 1, 2, HERE)
    assert claim.spec.train == led[0].spec
    assert last_attempt(spread).worker == "north + south"
    assert claim.checkpoint is not None
    assert claim.checkpoint.step == 7
    assert b"".join(services.read_checkpoint(job_id=companion.pk, actor=actor)) == b"optimizer state"


def test_a_machine_that_joins_reads_and_writes_nothing(spread, led, machines):
    _, actor = claim_at(companion_of(spread), machines[1])
    assert {action for _, action in actor.grants} == {Action.READ}
    assert {place for place, _ in actor.grants} == {place for place, _ in led[1].grants}


def test_said_twice_it_asks_for_no_more(spread, led):
    services.open_group(job_id=spread.pk, actor=led[1], rendezvous=HERE)
    assert Job.objects.filter(leader=spread).count() == 1


def test_the_training_waits_until_enough_machines_are_free(job, spread, machines):
    claim_at(job, machines[0])
    claim_at(services.request_job(spec=TrainSpec.model_validate(job.spec), actor=owner_of(job)), machines[1])
    with pytest.raises(ConflictError, match="needs 2 machines at once, and 1 that fit are free"):
        claim_at(spread, machines[2])
    assert spread.message == "waits for 2 workers at once"
    later = services.request_job(spec=TrainSpec.model_validate(job.spec), actor=owner_of(job))
    assert next_of(machines[2]) == later.pk
    Job.objects.filter(pk=job.pk).update(state=JobState.SUCCEEDED)
    assert next_of(machines[2]) == spread.pk


def next_of(machine):
    actor, place = machine
    return waiting.next_job(worker_id=place.id, request=NextJobRequest(), actor=actor).job


def owner_of(job):
    return actor_for_user(job.created_by)


def test_whom_others_wait_for_goes_before_what_waits_longer(job, spread, led, machines):
    assert next_of(machines[2]) == companion_of(spread).pk
    assert job.state == JobState.QUEUED


def test_when_a_machine_fails_the_training_is_tried_again_with_machines_anew(spread, led, machines):
    first = companion_of(spread)
    _, joined = claim_at(first, machines[1])
    finish(first, joined, error="It was killed.", retryable=True)
    assert (state_of(first), state_of(spread)) == (JobState.FAILED, JobState.QUEUED)
    assert last_attempt(spread).why == "south says that the group broke off: It was killed."
    with pytest.raises(AuthenticationError):
        actor_for_secret(led[0].token)
    Job.objects.filter(pk=spread.pk).update(not_before=None)
    _, actor = claim_at(spread, machines[0])
    services.open_group(job_id=spread.pk, actor=actor, rendezvous=HERE)
    assert companion_of(spread).pk != first.pk
    assert Job.objects.get(pk=spread.pk).failures == 1


def test_a_machine_that_is_told_to_stop_costs_no_attempt(spread, led, machines):
    companion = companion_of(spread)
    _, joined = claim_at(companion, machines[1])
    finish(companion, joined, error="The worker was told to stop.", released=True)
    assert (state_of(companion), state_of(spread)) == (JobState.FAILED, JobState.QUEUED)
    assert Job.objects.get(pk=spread.pk).failures == 0
    assert last_attempt(spread).ending == AttemptEnd.RELEASED


def test_a_machine_that_goes_silent_ends_the_attempt(spread, led, machines):
    companion = companion_of(spread)
    claim_at(companion, machines[1])
    with after_the_lease():
        Job.objects.filter(pk=spread.pk).update(lease_expires_at=None)  # the leader's goes on
        services.requeue_lost_jobs()
        assert (state_of(companion), state_of(spread)) == (JobState.FAILED, JobState.QUEUED)


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ({"state": JobState.SUCCEEDED}, JobState.SUCCEEDED),
        ({"state": JobState.FAILED, "error": "wrong labels"}, JobState.CANCELLED),
        ({"state": JobState.FAILED, "released": True}, JobState.CANCELLED),
    ],
)
def test_when_the_leaders_attempt_ends_the_others_are_done(spread, led, machines, said, becomes):
    companion = companion_of(spread)
    _, joined = claim_at(companion, machines[1])
    finish(spread, led[1], **said)
    assert state_of(companion) == becomes
    with pytest.raises(LeaseLostError):
        services.heartbeat(job_id=companion.pk, actor=joined, beat=Heartbeat())


def test_one_that_has_done_its_part_ends_nothing(spread, led, machines):
    companion = companion_of(spread)
    _, joined = claim_at(companion, machines[1])
    finish(companion, joined, state=JobState.SUCCEEDED)
    assert state_of(spread) in {JobState.CLAIMED, JobState.RUNNING}
    assert services.keep_groups_whole() == 0


def test_one_that_nobody_has_claimed_goes_with_its_leader(spread, led):
    finish(spread, led[1], error="wrong labels")
    assert state_of(companion_of(spread)) == JobState.CANCELLED


def test_nobody_asks_for_it_by_hand(spread, led, owner):
    spec = JoinSpec.model_validate(companion_of(spread).spec)
    with pytest.raises(InvalidInputError, match="Machines are asked to join by the training"):
        services.request_job(spec=spec, actor=actor_for_user(owner))
    assert not services.asked_for().filter(kind="join").exists()


def test_what_one_machine_does_is_not_spread(job, owner, machines, team):
    _, actor = claim_at(job, machines[0])
    with pytest.raises(InvalidInputError, match="needs no other machine"):
        services.open_group(job_id=job.pk, actor=actor, rendezvous=HERE)
    spec = EvaluateSpec(model=f"{team}/reader@v1", dataset=f"{team}/digits@v1")
    with pytest.raises(InvalidInputError, match="Only a training is spread"):
        services.request_job(spec=spec, actor=actor_for_user(owner), resources=Resources(hosts=2))
