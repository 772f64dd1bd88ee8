"""People, teams (each is a namespace), memberships, tokens and audit rows."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower

from steelyard_platform.accounts.permissions import Action, Resource, Role, Scope


class User(AbstractUser):
    """A person. Each has a team of their own with the same name, so that `name/model` is theirs."""


class Team(models.Model):
    """A namespace: what stands before the slash in `team/model`."""

    name = models.CharField(max_length=96)
    is_personal = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(User, through="Membership", related_name="teams")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(Lower("name"), name="team_name_unique")]

    def __str__(self) -> str:
        return self.name

    @property
    def resource(self) -> Resource:
        return Resource(team_id=self.pk, label=f"the team {self.name}")


class Membership(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=[(role, role) for role in Role])

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "user"], name="membership_unique")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.team}"


class Token(models.Model):
    """A secret that speaks for a person or a machine. Only its hash is kept; it is shown once."""

    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=12)  # the first letters, so that people can tell their tokens apart
    scope = models.CharField(max_length=10, choices=[(scope, scope) for scope in Scope])
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="tokens")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, related_name="tokens")
    subject = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"


class TokenGrant(models.Model):
    """One right on one repository, for tokens of jobs."""

    token = models.ForeignKey(Token, on_delete=models.CASCADE, related_name="grants")
    repository = models.UUIDField()
    action = models.CharField(max_length=40, choices=[(action, action) for action in Action])

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["token", "repository", "action"], name="token_grant_unique")
        ]

    def __str__(self) -> str:
        return f"{self.token}: {self.action} {self.repository}"


class AuditRow(models.Model):
    """One write: who did what to what, and when. Rows are only ever added."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=200)
    token = models.ForeignKey(Token, on_delete=models.SET_NULL, null=True)
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=300, db_index=True)
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.action} {self.target}"
