"""Where the points of a job's metrics lie.

    MetricSeries    one row for each name of a job: where it begins and ends, its newest value
    LoosePoint      the newest points of a series, a row each
    SealedChunk     older points, about a thousand in a row, packed
    SeriesSummary   lowest, highest and sum of every few sealed points: what charts are drawn from

A million points take a hundredth of the rows and a tenth of the bytes that a row for each would. All of a series' loose
points come after its sealed ones. `series` alone reads and writes these tables.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class MetricSeries(models.Model):
    job = models.ForeignKey("jobs.Job", on_delete=models.CASCADE, related_name="series", db_index=False)
    name = models.CharField(max_length=250)
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    last_value = models.FloatField(null=True)
    last_special = models.SmallIntegerField(default=0)
    last_at = models.BigIntegerField(default=0)  # milliseconds since 1970; 0 where nobody knows
    # Counts the writes to the job, so that a reader finds out what has changed since its last look.
    revision = models.BigIntegerField(default=0)
    loose = models.PositiveBigIntegerField(default=0)  # at least as many as there are loose points
    sealed_to = models.BigIntegerField(default=-1)  # the last sealed step

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "name"], name="metric_series_unique")]
        indexes: ClassVar = [models.Index(fields=["job", "revision"])]

    def __str__(self) -> str:
        return self.name


class LoosePoint(models.Model):
    """`value` is null where `special` says that it is no finite number: see `packing.special_of`."""

    pk = models.CompositePrimaryKey("series_id", "step")
    series = models.ForeignKey(MetricSeries, on_delete=models.CASCADE, related_name="+", db_index=False)
    step = models.BigIntegerField()
    value = models.FloatField(null=True)
    special = models.SmallIntegerField(default=0)
    at = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"[{self.step}] = {self.value}"


class SealedChunk(models.Model):
    pk = models.CompositePrimaryKey("series_id", "first_step")
    series = models.ForeignKey(MetricSeries, on_delete=models.CASCADE, related_name="+", db_index=False)
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    data = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.first_step} to {self.last_step}"


class SeriesSummary(models.Model):
    """Of a few sealed points, the last of which is at `step`. `count` and `total`: of the finite ones."""

    pk = models.CompositePrimaryKey("series_id", "step")
    series = models.ForeignKey(MetricSeries, on_delete=models.CASCADE, related_name="+", db_index=False)
    step = models.BigIntegerField()
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    total = models.FloatField(default=0)
    count = models.PositiveSmallIntegerField()
    special = models.SmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"up to {self.step}"
