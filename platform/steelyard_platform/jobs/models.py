"""A job and what it leaves behind. `steelyard_contracts.jobs` draws the states."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models

from steelyard_contracts.jobs import AttemptEnd, JobState
from steelyard_platform.accounts.models import Team, Token, User
from steelyard_platform.jobs import series_tables  # noqa: F401 - Django looks for an app's tables here
from steelyard_platform.jobs.search_models import Search
from steelyard_platform.jobs.tracking_models import TrackedRun
from steelyard_platform.repos.models import Blob, Repository

__all__ = ["Attempt", "Checkpoint", "Job", "LogLine", "Sample", "Search", "TrackedRun", "Worker"]


class Job(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=16)
    spec = models.JSONField()  # its references are pinned to versions when the job is requested
    state = models.CharField(max_length=10, choices=[(state, state) for state in JobState], default=JobState.QUEUED)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    created_by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    attempt = models.PositiveSmallIntegerField(default=0)  # the newest one's number; 0 before the first
    failures = models.PositiveSmallIntegerField(default=0)  # attempts that count against the limit
    not_before = models.DateTimeField(null=True)
    worker = models.CharField(max_length=200, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    token = models.ForeignKey(Token, on_delete=models.SET_NULL, null=True)  # the lease: whoever holds it may write
    rung_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    stop_requested_at = models.DateTimeField(null=True)
    cloned_from = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="clones")

    progress = models.FloatField(default=0)
    message = models.CharField(max_length=500, blank=True)
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    # What was expected of it when it was asked for: a `JobEstimate`, with the pictures that it will look at.
    estimate = models.JSONField(default=dict)
    # The repository whose page lists the job: the one it writes to or measures.
    repository = models.UUIDField(db_index=True)
    # What it needs of the machine that does it, and the queue that follows from it: `steelyard_contracts.workers`.
    resources = models.JSONField(default=dict)
    queue = models.CharField(max_length=80, default="compute")
    # Of a trial: the search that asked for it, and its number there.
    search = models.ForeignKey(Search, on_delete=models.SET_NULL, null=True, related_name="jobs")
    trial = models.PositiveIntegerField(null=True)
    # Of a machine that joins a training on several: the job that leads it, and which of its attempts. See `groups`.
    leader = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="companions")
    leader_attempt = models.PositiveSmallIntegerField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["state", "lease_expires_at"]),
            models.Index(fields=["team", "-created_at"]),
            models.Index(fields=["state", "queue", "created_at"], name="jobs_job_queue_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {str(self.pk)[:8]}"


class Attempt(models.Model):
    """One worker's try at a job, from its claim to its end."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    worker = models.CharField(max_length=200)
    claim_key = models.UUIDField(null=True)  # tells a claim whose answer was lost from another worker's
    token = models.ForeignKey(Token, on_delete=models.SET_NULL, null=True)
    resumed_from = models.PositiveBigIntegerField(null=True)  # a checkpoint's step; none began anew
    progress_before = models.FloatField(default=0)  # how far the job was then: what this attempt need not do
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ending = models.CharField(max_length=10, choices=[(end, end) for end in AttemptEnd], blank=True)
    why = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "number"], name="attempt_unique")]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.job}"


class Worker(models.Model):
    """A machine that does jobs, as it described itself. `steelyard_contracts.workers` says what fits it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Whose jobs it takes, as its token says: without a team, those of every team.
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, related_name="workers")
    token = models.ForeignKey(Token, on_delete=models.CASCADE, related_name="workers")
    name = models.CharField(max_length=96)
    host = models.CharField(max_length=200)
    capabilities = models.JSONField()
    load = models.JSONField(default=dict)
    is_draining = models.BooleanField(default=False)
    # The last job it claimed; whether it is still at it, the job's own state says.
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, related_name="+")
    first_seen_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "name"], name="worker_name_unique"),
            models.UniqueConstraint(fields=["name"], condition=models.Q(team=None), name="worker_name_unique_for_all"),
        ]

    def __str__(self) -> str:
        return self.name


class LogLine(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="log_lines")
    attempt = models.PositiveSmallIntegerField()
    number = models.PositiveIntegerField()
    text = models.TextField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "attempt", "number"], name="log_line_unique")]

    def __str__(self) -> str:
        return self.text


class Checkpoint(models.Model):
    """A saved training state. It counts once `is_complete`: uploaded, and its digest checked."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="checkpoints")
    step = models.PositiveBigIntegerField()  # the last one that it knows of, as the metrics count them
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    object_key = models.CharField(max_length=200, unique=True)
    is_complete = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"checkpoint {self.step} of {self.job}"


class Archive(models.Model):
    """A file that becomes a version once a job has unpacked it; it goes when that has ended."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=255)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, null=True, related_name="archives")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.name} for {self.repository}"


class Sample(models.Model):
    """A picture that a job left at a step, such as what it predicts for an image of the validation split."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="samples")
    name = models.CharField(max_length=100)
    step = models.PositiveBigIntegerField()
    size = models.PositiveIntegerField()
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    object_key = models.CharField(max_length=200, unique=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "name", "step"], name="sample_unique")]

    def __str__(self) -> str:
        return f"{self.name} at step {self.step}"
