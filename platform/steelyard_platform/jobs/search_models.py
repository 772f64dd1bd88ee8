"""A search and its trials: all that is known of it. `steelyard_contracts.searches` draws the states."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models

from steelyard_contracts.searches import SearchState, TrialState
from steelyard_platform.accounts.models import Team, User


class Search(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="searches")
    name = models.CharField(max_length=200)
    spec = models.JSONField()  # a SearchSpec; its references are pinned to versions
    state = models.CharField(
        max_length=10, choices=[(state, state) for state in SearchState], default=SearchState.RUNNING
    )
    asked = models.PositiveIntegerField(default=0)  # the newest trial's number; raised by whoever begins the next
    best = models.ForeignKey("jobs.Trial", on_delete=models.SET_NULL, null=True, related_name="+")
    importance = models.JSONField(default=dict)
    message = models.TextField(blank=True)
    # It has ended well, and its best version waits to be put onto the output's branch and promoted.
    is_due = models.BooleanField(default=False)
    version = models.CharField(max_length=250, blank=True)  # of the best trial, on the output's branch

    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    created_by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField()  # or resumed
    finished_at = models.DateTimeField(null=True)
    # The model repository that the versions go to.
    repository = models.UUIDField(db_index=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["state", "created_at"]),
            models.Index(fields=["team", "-created_at"]),
        ]

    def __str__(self) -> str:
        return f"search {str(self.pk)[:8]}"

    @property
    def branches(self) -> str:
        """What the names of its trials' branches begin with."""
        return f"search-{str(self.pk)[:8]}/trial-"


class Trial(models.Model):
    """One try: parameters, the job that trains with them, and what came of it."""

    search = models.ForeignKey(Search, on_delete=models.CASCADE, related_name="trials")
    number = models.PositiveIntegerField()  # from 1
    params = models.JSONField()
    state = models.CharField(
        max_length=10, choices=[(state, state) for state in TrialState], default=TrialState.RUNNING
    )
    value = models.FloatField(null=True)
    reports = models.JSONField(default=list)  # the metric at each validation; null where it was no number
    judged = models.PositiveIntegerField(default=0)  # how many of them the pruner has looked at
    reason = models.CharField(max_length=500, blank=True)  # why it is pruned, or failed
    job = models.OneToOneField("jobs.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    version = models.CharField(max_length=250, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["search", "number"], name="trial_number_unique")]
        indexes: ClassVar = [models.Index(fields=["state", "search"])]

    def __str__(self) -> str:
        return f"trial {self.number} of {self.search}"
