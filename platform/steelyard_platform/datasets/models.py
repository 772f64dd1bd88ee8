"""What is known of a dataset version's content, computed once because a version never changes."""

from __future__ import annotations

from django.db import models

from steelyard_platform.repos.models import Version


class DatasetSummary(models.Model):
    """`splits` maps a split to its labels, and each label to its number of images."""

    version = models.OneToOneField(Version, on_delete=models.CASCADE, related_name="summary")
    splits = models.JSONField()

    def __str__(self) -> str:
        return f"summary of {self.version}"
