"""Workers: what they register, which jobs they hear of and get, and who looks after them."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import AuthenticationError, ConflictError, ForbiddenError, LeaseLostError, NotFoundError
from steelyard_contracts.jobs import Finish, Heartbeat, InspectSpec, JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.workers import (
    Beat,
    Capabilities,
    Gpu,
    Load,
    NextJobRequest,
    Registration,
    Resources,
    WorkerState,
    WorkerTokenRequest,
)
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import placement, services, waiting, worker_tokens, workers
from steelyard_platform.jobs.models import Job, Worker
from tests.support.factories import commit_files, make_repository, make_team, make_user, picture_dataset
from tests.support.jobs import after_the_lease, claim_at, later, worker_of

pytestmark = pytest.mark.django_db
GPUS = Capabilities(cores=16, memory_gb=128, gpus=[Gpu(name="NVIDIA A100-SXM4-80GB", memory_gb=80)])
A100 = Resources(labels=["gpu:a100"])


def job_of(team, owner, resources=None, name="digits"):
    if not team.repositories.filter(name=name).exists():
        picture_dataset(make_repository(team, owner, name, RepositoryKind.DATASET), owner)
    spec = TrainSpec(dataset=f"{team}/{name}", output=f"{team}/reader")
    return services.request_job(spec=spec, actor=actor_for_user(owner), resources=resources)


def next_of(actor, place, **fields):
    return waiting.next_job(worker_id=place.id, request=NextJobRequest(**fields), actor=actor)


def claim(job, actor, place):
    return services.claim_job(job_id=job.pk, worker=place.name, worker_id=place.id, actor=actor)


def test_a_worker_gets_the_oldest_job_that_fits_and_no_other(owner, team):
    for_gpu, plain = job_of(team, owner, A100), job_of(team, owner)
    small, with_gpu = worker_of(team, "small"), worker_of(team, "large", capabilities=GPUS)
    assert next_of(*small).job == plain.pk
    assert next_of(*with_gpu).job == for_gpu.pk
    assert next_of(*with_gpu, exclude=[for_gpu.pk]).job == plain.pk
    with pytest.raises(ConflictError, match="needs the label gpu:a100, which this worker has not"):
        claim(for_gpu, *small)
    assert claim(for_gpu, *with_gpu).resources == A100
    assert Job.objects.get(pk=for_gpu.pk).queue == "compute.gpu-a100"


def test_a_worker_that_never_registered_counts_as_a_plain_machine(owner, team):
    actor, _ = worker_of(team)
    with pytest.raises(ConflictError, match="needs 1 GPU"):
        services.claim_job(job_id=job_of(team, owner, Resources(gpus=1)).pk, worker="w", actor=actor)
    services.claim_job(job_id=job_of(team, owner).pk, worker="w", actor=actor)


def test_a_teams_worker_never_gets_another_teams_job(owner, team):
    theirs = make_team(make_user())
    job, stranger, everybody = job_of(team, owner), worker_of(theirs, "theirs"), worker_of(None, "all")
    assert next_of(*stranger).job is None
    with pytest.raises(ConflictError, match="claimed by another worker, or has ended"):
        claim(job, *stranger)
    with pytest.raises(ConflictError, match="claimed by another worker, or has ended"):
        services.claim_job(job_id=job.pk, worker="w", actor=stranger[0])
    assert next_of(*everybody).job == job.pk
    claim(job, *everybody)


def test_a_place_belongs_to_the_token_that_registered_it(owner, team):
    _, place = worker_of(team)
    other, _ = worker_of(team, "other")
    with pytest.raises(ForbiddenError, match="This token has no such worker"):
        workers.beat(worker_id=place.id, actor=other, sign=Beat())
    with pytest.raises(ForbiddenError, match="no such worker"):
        claim(job_of(team, owner), other, place)
    with pytest.raises(ForbiddenError, match="with a worker's token"):
        workers.register_worker(
            registration=Registration(name="x", host="x", capabilities=Capabilities()), actor=actor_for_user(owner)
        )


def test_an_idle_workers_sign_of_life_is_answered_with_a_job_that_waits(owner, team):
    actor, place = worker_of(team)
    sign = Beat(load=Load(cpu=0.5, memory=0.25), is_idle=True)
    assert workers.beat(worker_id=place.id, actor=actor, sign=sign).job is None
    job = job_of(team, owner)
    assert workers.beat(worker_id=place.id, actor=actor, sign=sign).job == job.pk
    assert workers.beat(worker_id=place.id, actor=actor, sign=Beat(load=sign.load)).job is None
    boss = actor_for_user(owner)
    (view,) = workers.views_of([workers.find_worker(place.id, boss)], boss)
    assert (view.load.cpu, view.team, view.labels) == (0.5, team.name, ["cpu"])


def test_who_waits_is_answered_when_a_job_comes_and_beyond_the_seats_at_once(owner, team, monkeypatch):
    asker = worker_of(team)
    asked = []

    def job_comes(seconds):
        asked.append(job_of(team, owner))

    monkeypatch.setattr("steelyard_platform.jobs.waiting.time.sleep", job_comes)
    assert next_of(*asker, wait_seconds=5).job == asked[0].pk
    Job.objects.all().delete()
    seats = waiting._seats()
    taken = [seats.acquire(blocking=False) for _ in range(100)]
    answer = next_of(*asker, wait_seconds=5)
    assert (answer.job, answer.again_seconds > 0) == (None, True)
    for _ in filter(None, taken):
        seats.release()


def test_small_jobs_do_not_stand_behind_a_training(owner, team):
    training = job_of(team, owner)
    version = commit_files(make_repository(team, owner, "weights"), owner, {"model.safetensors": b"1"})
    small = services.request_own_job(spec=InspectSpec(model=f"{version.repository.full_name}@v1"))
    quick, general = worker_of(None, "quick", quick_only=True), worker_of(None, "general")
    assert next_of(*general).job == small.pk
    assert next_of(*quick).job == small.pk
    assert next_of(*quick, exclude=[small.pk]).job is None
    assert next_of(*general, exclude=[small.pk]).job == training.pk


def test_a_job_says_what_it_waits_for_and_whether_anybody_could_come(owner, team):
    job, plain = job_of(team, owner, A100), job_of(team, owner)
    assert job.message == "waits for a worker with gpu:a100; none is known"
    assert plain.message == "waits for a worker; none is known"
    _, place = worker_of(team, "bench", capabilities=GPUS)
    assert placement.refresh_waiting_words() == 2
    assert Job.objects.get(pk=job.pk).message == "waits for a worker with gpu:a100"
    Worker.objects.filter(pk=place.id).update(is_draining=True)
    placement.refresh_waiting_words()
    expected = "waits for a worker with gpu:a100; those known are away or draining: bench"
    assert Job.objects.get(pk=job.pk).message == expected
    assert placement.refresh_waiting_words() == 0


def test_a_workers_state_follows_from_what_it_does(owner, team):
    actor, place = worker_of(team)

    def state():
        return workers.state_of(workers.find_worker(place.id, actor_for_user(owner)))

    assert state() is WorkerState.IDLE
    job = job_of(team, owner)
    lease = actor_for_secret(claim(job, actor, place).token)
    assert state() is WorkerState.BUSY
    with later(3600):
        assert state() is WorkerState.SILENT
    services.finish_job(job_id=job.pk, actor=lease, finish=Finish(state=JobState.SUCCEEDED))
    assert state() is WorkerState.IDLE
    workers.leave(worker_id=place.id, actor=actor)
    assert state() is WorkerState.STOPPED


def test_a_name_in_use_gets_a_number_and_one_that_was_left_is_taken_again(team):
    _, first = worker_of(team, "bench")
    actor, second = worker_of(team, "bench")
    assert (first.name, second.name) == ("bench", "bench-2")
    workers.leave(worker_id=second.id, actor=actor)
    assert worker_of(team, "bench")[1].id == second.id
    with later(3600):
        assert worker_of(team, "bench")[1].id == first.id


def test_a_draining_worker_takes_no_new_job_also_after_a_restart(owner, team):
    boss, (actor, place) = actor_for_user(owner), worker_of(team)
    job = job_of(team, owner)
    workers.set_draining(worker=workers.find_worker(place.id, boss), is_draining=True, actor=boss)
    assert workers.beat(worker_id=place.id, actor=actor, sign=Beat(is_idle=True)).is_draining
    assert next_of(actor, place, wait_seconds=5).is_draining
    with pytest.raises(ConflictError, match="draining"):
        claim(job, actor, place)
    workers.leave(worker_id=place.id, actor=actor)
    again = worker_of(team)
    assert next_of(*again).is_draining
    workers.set_draining(worker=workers.find_worker(place.id, boss), is_draining=False, actor=boss)
    assert next_of(*again).job == job.pk


def test_a_revoked_token_loses_the_jobs_of_its_workers_at_once(owner, team):
    boss = actor_for_user(owner)
    token, secret = worker_tokens.issue_worker_token(team=team, request=WorkerTokenRequest(name="rented"), actor=boss)
    actor = actor_for_secret(secret)
    registration = Registration(name="rented", host="h", capabilities=Capabilities())
    place = workers.register_worker(registration=registration, actor=actor)
    job = job_of(team, owner)
    lease = claim(job, actor, place).token
    holder = actor_for_secret(lease)
    worker_tokens.revoke_worker_token(team=team, token_id=token.pk, actor=boss)
    for opened in (secret, lease):
        with pytest.raises(AuthenticationError):
            actor_for_secret(opened)
    assert services.requeue_lost_jobs() == 1
    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED
    with pytest.raises(LeaseLostError):
        services.heartbeat(job_id=job.pk, actor=holder, beat=Heartbeat())


def test_tokens_are_made_and_revoked_by_the_teams_administrators_alone(owner, team):
    member, other = make_user(), make_team(make_user())
    set_role(team=team, username=member.username, role=Role.MAINTAINER, actor=actor_for_user(owner))
    request = WorkerTokenRequest(name="mine")
    for who, whose in ((member, team), (owner, other)):
        with pytest.raises(ForbiddenError):
            worker_tokens.issue_worker_token(team=whose, request=request, actor=actor_for_user(who))
    token, _ = worker_tokens.issue_worker_token(team=team, request=request, actor=actor_for_user(owner))
    with pytest.raises(ForbiddenError):
        worker_tokens.revoke_worker_token(team=team, token_id=token.pk, actor=actor_for_user(member))
    with pytest.raises(NotFoundError, match="no such worker's token"):
        worker_tokens.revoke_worker_token(team=team, token_id=token.pk + 1, actor=actor_for_user(owner))


def test_workers_are_seen_by_their_team_and_a_job_by_its_own(owner, team):
    stranger, admin = make_user(), make_user()
    admin.is_superuser = True
    admin.save()
    _, mine = worker_of(team, "mine")
    actor, shared = worker_of(None, "shared")
    claim(job_of(team, owner), actor, shared)

    def seen_by(user):
        person = actor_for_user(user)
        views = workers.views_of(list(workers.visible_workers(person)), person)
        return {view.name: view.job is not None for view in views}

    assert seen_by(owner) == {"mine": False, "shared": True}
    assert seen_by(stranger) == {"shared": False}
    assert set(seen_by(admin)) == {"mine", "shared"}
    with pytest.raises(NotFoundError, match="or you may not see it"):
        workers.find_worker(mine.id, actor_for_user(stranger))
    shared_row = workers.find_worker(shared.id, actor_for_user(owner))
    with pytest.raises(ForbiddenError, match="an administrator of the installation"):
        workers.set_draining(worker=shared_row, is_draining=True, actor=actor_for_user(owner))
    workers.set_draining(worker=shared_row, is_draining=True, actor=actor_for_user(admin))


def test_a_worker_at_work_is_not_forgotten_and_each_write_leaves_a_row(owner, team):
    boss, (actor, place) = actor_for_user(owner), worker_of(team)
    worker = workers.find_worker(place.id, boss)
    with pytest.raises(ConflictError, match="still runs"):
        workers.forget_worker(worker=worker, actor=boss)
    workers.leave(worker_id=place.id, actor=actor)
    workers.forget_worker(worker=workers.find_worker(place.id, boss), actor=boss)
    with pytest.raises(ForbiddenError, match="register it again"):
        workers.beat(worker_id=place.id, actor=actor, sign=Beat())
    said = list(AuditRow.objects.filter(target=f"{team}/bench").order_by("pk").values_list("action", flat=True))
    assert said == ["register worker", "stop worker", "forget worker"]


def test_a_job_that_is_queued_again_says_what_it_waits_for_once_its_pause_is_over(job, team):
    worker = worker_of(team)
    claim_at(job, worker)
    with after_the_lease():
        services.requeue_lost_jobs()
        job.refresh_from_db()
        assert job.message == "again after: bench went silent"
    with later(3600):
        placement.refresh_waiting_words()
        job.refresh_from_db()
        assert job.message == "waits for a worker; those known are away or draining: bench"
