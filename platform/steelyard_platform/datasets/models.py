"""What is known of a dataset version's content, computed once because a version never changes."""

from __future__ import annotations

from django.db import models

from steelyard_platform.repos.models import Version


class DatasetSummary(models.Model):
    """What the dataset holds, by its layout; it can be made again of the version at any time.

    `splits` maps a split to its labels, and each label to its number: of pictures for classes, of boxes for
    detection; masks are not looked into, so their labels have none. `faults` are sentences, the first few of
    `fault_count`.
    """

    version = models.OneToOneField(Version, on_delete=models.CASCADE, related_name="summary")
    layout = models.CharField(max_length=20, blank=True)
    tasks = models.JSONField(default=list)
    labels = models.JSONField(default=list)
    pictures = models.JSONField(default=dict)  # by split
    splits = models.JSONField(default=dict)
    faults = models.JSONField(default=list)
    fault_count = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"summary of {self.version}"
