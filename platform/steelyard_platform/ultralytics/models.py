"""Weights and archives on their way in. All else that this client speaks of is a run, a repository or a version."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone

from steelyard_platform.accounts.models import Token
from steelyard_platform.jobs.models import Archive, Job
from steelyard_platform.repos.models import Repository, Version

_KEPT = timedelta(days=7)


class Upload(models.Model):
    """One file that was promised an address, from there to the version that holds it.

    With a run it is weights; without one an archive, which is kept from its arrival until a job has unpacked it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="+")
    run = models.ForeignKey(Job, on_delete=models.CASCADE, null=True, related_name="+")
    path = models.CharField(max_length=255)
    # Whoever asked for the address; what arrives at it is done with their rights, as they are then.
    token = models.ForeignKey(Token, on_delete=models.CASCADE, related_name="+")
    size = models.PositiveBigIntegerField(null=True)  # bytes; null until it arrived
    version = models.ForeignKey(Version, on_delete=models.SET_NULL, null=True, related_name="+")
    archive = models.ForeignKey(Archive, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["run", "-created_at"], name="ultralytics_upload_by_run")]

    def __str__(self) -> str:
        return f"{self.path} for {self.run or self.repository}"

    @classmethod
    def give_up_old(cls) -> None:
        cls.objects.filter(created_at__lt=timezone.now() - _KEPT).delete()
