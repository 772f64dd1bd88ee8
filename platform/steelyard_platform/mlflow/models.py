"""What MLflow has and we do not. Runs, metrics, versions and aliases are ours, and no copy of them is here.

Experiment      a project's name in MLflow, and its tags; the Default of a team has no project until its first run
RunNote         whether a run was deleted in MLflow, what it says it has read and made, and names that were tidied
LoggedModel     a model that was logged and is no version yet
RunFile         a file of a run or of a logged model; it becomes part of a version when the model is registered
Registration    a registered model's own name, description and tags
VersionNote     where a version came from, its description, tags and stage
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from steelyard_platform.accounts.models import Team
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos.models import Blob, Repository, Version, Webhook

LONGEST_NAME = 500


class Experiment(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    project = models.OneToOneField(Repository, on_delete=models.CASCADE, null=True, related_name="mlflow_experiment")
    name = models.CharField(max_length=LONGEST_NAME)
    tags = models.JSONField(default=dict)
    is_deleted = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        # A name is one live experiment's, as the services see to; that of one in the trash is free again.
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "name"], condition=Q(project=None), name="mlflow_waiting_unique")
        ]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "id"]),
            models.Index(fields=["team", "name"], name="mlflow_experiment_name"),
        ]

    def __str__(self) -> str:
        return self.name


class RunNote(models.Model):
    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="mlflow_note")
    is_deleted = models.BooleanField(default=False)
    inputs = models.JSONField(default=list)  # datasets, each with its tags, as they were sent
    models_read = models.JSONField(default=list)
    models_made = models.JSONField(default=list)
    metric_names = models.JSONField(default=dict)  # what a metric was called, by what it is called here

    def __str__(self) -> str:
        return f"note on {self.job_id}"


class LoggedModel(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="logged_models")
    name = models.CharField(max_length=LONGEST_NAME)
    model_type = models.CharField(max_length=500, blank=True)
    source_run_id = models.CharField(max_length=64, blank=True, db_index=True)
    status = models.CharField(max_length=40)
    tags = models.JSONField(default=dict)
    params = models.JSONField(default=dict)
    metrics = models.JSONField(default=list)  # of the model, on datasets, as they were sent
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["experiment", "-created_at", "id"])]

    def __str__(self) -> str:
        return self.model_id

    @property
    def model_id(self) -> str:
        return f"m-{self.pk.hex}"


class RunFile(models.Model):
    """Of exactly one of the two; it goes when the project does."""

    project = models.ForeignKey(Repository, on_delete=models.CASCADE, null=True, related_name="mlflow_files")
    run = models.ForeignKey(Job, on_delete=models.CASCADE, null=True, related_name="mlflow_files")
    model = models.ForeignKey(LoggedModel, on_delete=models.CASCADE, null=True, related_name="files")
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    is_lfs = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "path"], condition=Q(model=None), name="mlflow_run_file_unique"),
            models.UniqueConstraint(fields=["model", "path"], condition=Q(run=None), name="mlflow_model_file_unique"),
            models.CheckConstraint(
                condition=Q(run=None, model__isnull=False) | Q(run__isnull=False, model=None),
                name="mlflow_file_has_one_owner",
            ),
        ]

    def __str__(self) -> str:
        return self.path


class Registration(models.Model):
    repository = models.OneToOneField(
        Repository, on_delete=models.CASCADE, primary_key=True, related_name="mlflow_registration"
    )
    name = models.CharField(max_length=LONGEST_NAME, db_index=True)
    description = models.TextField(blank=True)
    tags = models.JSONField(default=dict)
    is_asked_for = models.BooleanField(default=True)  # somebody registered it; or only a note on what was there
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class VersionNote(models.Model):
    version = models.OneToOneField(Version, on_delete=models.CASCADE, primary_key=True, related_name="mlflow_note")
    source = models.TextField(blank=True)
    run_id = models.CharField(max_length=64, blank=True, db_index=True)
    run_link = models.CharField(max_length=2000, blank=True)
    model_id = models.CharField(max_length=64, blank=True)
    description = models.TextField(blank=True)
    tags = models.JSONField(default=dict)
    stage = models.CharField(max_length=20, default="None")
    is_own = models.BooleanField(default=False)  # its files are those of a run or a logged model of the team
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"note on {self.version_id}"


class WebhookNote(models.Model):
    webhook = models.OneToOneField(Webhook, on_delete=models.CASCADE, primary_key=True, related_name="mlflow_note")
    name = models.CharField(max_length=LONGEST_NAME)
    description = models.TextField(blank=True)
    events = models.JSONField(default=list)  # as in "model_version.created", in the order asked for
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name
