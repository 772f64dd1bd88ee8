"""The fleet. `steelyard_contracts.fleet` draws the states."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower

from steelyard_contracts.fleet import DeviceState, InstallState, RolloutState
from steelyard_platform.accounts.models import Team, Token
from steelyard_platform.repos.models import Version


class Device(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="devices")
    name = models.CharField(max_length=96)
    state = models.CharField(max_length=10, choices=[(s, s) for s in DeviceState], default=DeviceState.PENDING)
    token = models.OneToOneField(Token, on_delete=models.PROTECT, related_name="device")
    info = models.JSONField(default=dict)
    running = models.CharField(max_length=64, blank=True)  # digest of the release it says it runs
    enrolled_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint("team", Lower("name"), name="device_name_unique")]

    def __str__(self) -> str:
        return self.name


class Release(models.Model):
    """A version made ready for devices: its manifest, signed. Immutable, named by the manifest's digest."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="releases")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="releases")
    digest = models.CharField(max_length=64)
    envelope = models.JSONField()
    size = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=500, blank=True)
    verdicts = models.JSONField(default=list)  # what the gates had said
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "digest"], name="release_digest_unique")]

    def __str__(self) -> str:
        return self.digest[:12]

    @property
    def overridden(self) -> dict[str, str]:
        """The rules that refused it, and what each had said, when it was released all the same."""
        return {verdict["rule"]: verdict["sentence"] for verdict in self.verdicts if not verdict["passed"]}


class Rollout(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="rollouts")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="rollouts")
    state = models.CharField(max_length=10, choices=[(s, s) for s in RolloutState], default=RolloutState.RUNNING)
    stage = models.PositiveSmallIntegerField(default=0)
    max_failures = models.PositiveIntegerField(default=0)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.release} ({self.state})"


class Install(models.Model):
    """One device's part in a rollout."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="installs")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="installs")
    stage = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=12, choices=[(s, s) for s in InstallState], default=InstallState.WAITING)
    detail = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["rollout", "device"], name="install_unique")]
        indexes: ClassVar = [models.Index(fields=["device", "state"])]

    def __str__(self) -> str:
        return f"{self.device}: {self.state}"
