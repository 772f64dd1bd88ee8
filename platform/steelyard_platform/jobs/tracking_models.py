"""What a run has beside its job: a training that was done elsewhere and reports here."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from steelyard_contracts.tracking import RunSource
from steelyard_platform.repos.models import Repository


class TrackedRun(models.Model):
    job = models.OneToOneField("jobs.Job", on_delete=models.CASCADE, primary_key=True, related_name="run")
    # The model repository that it belongs to, as in `Job.repository`; null once that was deleted for good.
    project = models.ForeignKey(Repository, on_delete=models.SET_NULL, null=True, related_name="runs")
    name = models.CharField(max_length=200)
    source = models.CharField(max_length=16, choices=[(source, source) for source in RunSource])
    key = models.UUIDField(null=True)  # of the request that started it, so that a repeat finds it
    total_steps = models.PositiveBigIntegerField(null=True)
    tags = models.JSONField(default=dict)
    environment = models.JSONField(default=dict)
    git = models.JSONField(null=True)
    heard_at = models.DateTimeField()
    log_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "name"], name="run_name_unique"),
            models.UniqueConstraint(fields=["project", "key"], name="run_key_unique"),
        ]

    def __str__(self) -> str:
        return self.name
