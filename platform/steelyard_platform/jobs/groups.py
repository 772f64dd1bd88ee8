"""Trainings on several machines: the job that leads one, and the jobs of those that join it.

    the leader is claimed     as any job; its worker opens a place to meet, and says where
    open_group                one job of kind "join" for each other machine; queued, claimed and leased as any job
    keep_groups_whole         a machine that goes ends the attempt of its leader, which is tried again from the last
                              checkpoint with machines anew; when a leader's attempt ends, those who joined it are done

A group belongs to one attempt of its leader. Whatever happens between two writes here is put right by the next call.
"""

from __future__ import annotations

from uuid import UUID

from django.db import models, transaction
from django.db.models import F, Q

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import AttemptEnd, Finish, JobState, JoinSpec, Rendezvous
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.workers import Resources, queue_of
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import PLATFORM, Actor
from steelyard_platform.accounts.tokens import revoke_token
from steelyard_platform.jobs import doorbell, placement
from steelyard_platform.jobs.leases import HELD, held_job
from steelyard_platform.jobs.models import Attempt, Job
from steelyard_platform.jobs.outcomes import Outcome, after_finish
from steelyard_platform.jobs.settling import limits, settle

_GONE = (JobState.FAILED, JobState.CANCELLED, JobState.LOST)
_AT_ONCE = 100


@transaction.atomic
def open_group(*, job_id: UUID, actor: Actor, rendezvous: Rendezvous) -> None:
    """Asks for the other machines of a training; said again within the attempt, it is done already.

    Raises: LeaseLostError; InvalidInputError for a job that needs no other machine.
    """
    leader = held_job(job_id, actor, lock=True)
    needs = Resources.model_validate(leader.resources)
    if needs.hosts == 1 or leader.kind != "train":
        raise InvalidInputError("This job needs no other machine.", job=str(job_id))
    if leader.companions.filter(leader_attempt=leader.attempt).exists():
        return
    each = needs.model_copy(update={"hosts": 1})
    for node in range(1, needs.hosts):
        spec = JoinSpec(
            train=TrainSpec.model_validate(leader.spec),
            leader=leader.pk,
            node=node,
            hosts=needs.hosts,
            rendezvous=rendezvous,
        )
        companion = Job(
            team=leader.team,
            kind=spec.kind,
            spec=spec.model_dump(mode="json"),
            created_by_id=leader.created_by_id,
            created_by_name=leader.created_by_name,
            repository=leader.repository,
            resources=each.model_dump(mode="json"),
            queue=queue_of(each, kind=spec.kind),
            leader=leader,
            leader_attempt=leader.attempt,
        )
        companion.message = placement.words_for(companion)
        companion.save()
        doorbell.ring_after_commit(companion.pk)
    audit.record(actor, "open group", str(leader.pk), attempt=leader.attempt, hosts=needs.hosts)


def keep_groups_whole(*, beside: Job | None = None) -> int:
    """Ends attempts whose group has lost a machine, and machines whose leader's attempt is over. Returns how many.

    `beside`: a job that has just ended, to look at its own group alone.
    """
    if beside is not None and not beside.leader_id and Resources.model_validate(beside.resources).hosts == 1:
        return 0
    broken, left = _broken(), _left_behind()
    if beside is not None:
        head = beside.leader_id or beside.pk
        broken, left = broken.filter(pk=head), left.filter(leader=head)
    ended = sum(_end_attempt(pk) for pk in list(broken.values_list("pk", flat=True)[:_AT_ONCE]))
    return ended + sum(_dismiss(pk) for pk in list(left.values_list("pk", flat=True)[:_AT_ONCE]))


def _broken() -> models.QuerySet[Job]:
    """Leaders at work whose group has lost a machine."""
    gone = Job.objects.filter(leader=models.OuterRef("pk"), leader_attempt=models.OuterRef("attempt"), state__in=_GONE)
    return Job.objects.filter(models.Exists(gone), state__in=HELD)


def _left_behind() -> models.QuerySet[Job]:
    """Those who joined, or have yet to, an attempt that is over."""
    going_on = Q(leader__state__in=HELD, leader__attempt=F("leader_attempt"))
    return Job.objects.filter(state__in=[JobState.QUEUED, *HELD], leader__isnull=False).exclude(going_on)


@transaction.atomic
def _end_attempt(leader_id: UUID) -> bool:
    leader = _broken().select_for_update(of=("self",)).select_related("team", "token").filter(pk=leader_id).first()
    if leader is None:
        return False
    lost = leader.companions.filter(leader_attempt=leader.attempt, state__in=_GONE).order_by("finished_at")[0]
    has_left = Attempt.objects.filter(job=lost, ending=AttemptEnd.RELEASED).exists()
    # Whoever says so first need not be the one that went: its peers end because of it.
    what = "left the group" if has_left else "says that the group broke off"
    why = f"{lost.worker or 'One of the machines'} {what}: {lost.error or lost.state}"
    finish = Finish(state=JobState.FAILED, error=why, released=has_left, retryable=True)
    is_cancelled = leader.cancel_requested_at is not None
    outcome = after_finish(finish, failures=leader.failures, is_cancelled=is_cancelled, limits=limits())
    settle(leader, outcome, why=why)
    if leader.token is not None:
        revoke_token(leader.token)
    audit.record(PLATFORM, "end attempt of group", str(leader.pk), attempt=leader.attempt, lost=str(lost.pk))
    return True


@transaction.atomic
def _dismiss(companion_id: UUID) -> bool:
    waiting = _left_behind().select_for_update(of=("self",)).select_related("team", "token", "leader")
    companion = waiting.filter(pk=companion_id).first()
    if companion is None or companion.leader is None:
        return False
    is_done = companion.leader.state == JobState.SUCCEEDED
    state, ending = (
        (JobState.SUCCEEDED, AttemptEnd.SUCCEEDED) if is_done else (JobState.CANCELLED, AttemptEnd.CANCELLED)
    )
    settle(companion, Outcome(state, ending, companion.failures), why="the training's attempt is over")
    if companion.token is not None:
        revoke_token(companion.token)
    audit.record(PLATFORM, "dismiss from group", str(companion.pk), leader=str(companion.leader_id))
    return True
