"""The job protocol, as the faces call it; `steelyard_contracts.jobs` draws the states.

    requests        request_job, request_own_job, clone_job
    interventions   cancel_job, stop_job, resume_job
    claims          claim_job, by one conditional update
    leases          heartbeat, write_metrics, write_log: each renews the lease
    checkpoints     offer_checkpoint, save_checkpoint, read_checkpoint
    endings         finish_job, requeue_lost_jobs, as `outcomes` decides
    groups          open_group, keep_groups_whole: trainings on several machines
    queries         find_job, view_of

Every write by a worker is fenced by its lease: who lost it writes nothing.
"""

from steelyard_platform.jobs.checkpoints import (
    checkpoint_of,
    drop_old_checkpoints,
    offer_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from steelyard_platform.jobs.claims import begin_again, claim_job
from steelyard_platform.jobs.doorbell import ring_for_waiting_jobs
from steelyard_platform.jobs.endings import finish_job, requeue_lost_jobs
from steelyard_platform.jobs.groups import keep_groups_whole, open_group
from steelyard_platform.jobs.interventions import cancel_job, resume_job, stop_job
from steelyard_platform.jobs.leases import heartbeat, held_job, write_log, write_metrics
from steelyard_platform.jobs.queries import asked_for, attempt_view, find_job, view_of
from steelyard_platform.jobs.requests import clone_job, request_job, request_own_job

__all__ = [
    "asked_for",
    "attempt_view",
    "begin_again",
    "cancel_job",
    "checkpoint_of",
    "claim_job",
    "clone_job",
    "drop_old_checkpoints",
    "find_job",
    "finish_job",
    "heartbeat",
    "held_job",
    "keep_groups_whole",
    "offer_checkpoint",
    "open_group",
    "read_checkpoint",
    "request_job",
    "request_own_job",
    "requeue_lost_jobs",
    "resume_job",
    "ring_for_waiting_jobs",
    "save_checkpoint",
    "stop_job",
    "view_of",
    "write_log",
    "write_metrics",
]
