"""A job and what it leaves behind. `steelyard_contracts.jobs` draws the states."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models

from steelyard_contracts.jobs import JobState
from steelyard_platform.accounts.models import Team, Token, User


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

    attempt = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    token = models.ForeignKey(Token, on_delete=models.SET_NULL, null=True)  # the lease: whoever holds it may write
    rung_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)

    progress = models.FloatField(default=0)
    message = models.CharField(max_length=500, blank=True)
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    # The repository whose page lists the job: the one it writes to or measures.
    repository = models.UUIDField(db_index=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["state", "lease_expires_at"]),
            models.Index(fields=["team", "-created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {str(self.pk)[:8]}"


class MetricPoint(models.Model):
    """One value of one series. Written and read by `series`, in sets."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="metric_points")
    name = models.CharField(max_length=100)
    step = models.BigIntegerField()
    value = models.FloatField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "name", "step"], name="metric_point_unique")]

    def __str__(self) -> str:
        return f"{self.name}[{self.step}] = {self.value}"


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
    step = models.PositiveBigIntegerField()
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    object_key = models.CharField(max_length=200, unique=True)
    is_complete = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"checkpoint {self.step} of {self.job}"
