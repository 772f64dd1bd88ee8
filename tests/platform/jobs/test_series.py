"""Metric series: exactly once whatever is sent how often, and few buckets however many points there are."""

from __future__ import annotations

import math
import random
from uuid import uuid4

import pytest

from steelyard_contracts.jobs import MetricBatch, MetricPoint
from steelyard_platform.jobs import series
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.series.packing import Point
from steelyard_platform.jobs.series_tables import LoosePoint, MetricSeries, SealedChunk

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(team):
    return Job.objects.create(team=team, kind="train", spec={}, created_by_name="ada", repository=uuid4())


def points(steps, name="loss", value=float):
    return [MetricPoint(name=name, step=step, value=value(step), timestamp=step) for step in steps]


def history(job, name="loss"):
    found: list[Point] = []
    while more := series.read_points(job.pk, name, after=found[-1].step if found else -1, limit=700):
        found += more
    return [(point.step, point.value, point.at) for point in found]


def numbers(values):
    assert None not in values
    return list(values)


def test_a_long_series_is_sealed_and_reads_as_it_was_sent(job):
    steps = range(0, 50_000, 5)
    for start in range(0, len(steps), 3000):
        series.write_points(job.pk, points(steps[start : start + 3000]))
    assert SealedChunk.objects.count() >= 7
    assert LoosePoint.objects.count() < 3100
    assert history(job) == [(step, float(step), step) for step in steps]
    (found,) = series.read_series(job.pk)
    assert 250 < len(found.steps) <= 501
    assert found.steps[-1] == steps[-1]
    assert (found.lows[0], found.highs[-1]) == (0.0, float(steps[-1]))
    means = numbers(found.values)
    assert means == sorted(means)
    assert all(a <= b <= c for a, b, c in zip(numbers(found.lows), means, numbers(found.highs), strict=True))
    assert series.last_values(job.pk) == {"loss": float(steps[-1])}


def test_a_part_of_a_long_series_is_read_point_by_point(job):
    series.write_points(job.pk, points(range(6000)))
    (found,) = series.read_series(job.pk, after=999, up_to=1999)
    assert found.steps == list(range(1000, 2000))
    assert found.values == [float(step) for step in range(1000, 2000)]
    (bucketed,) = series.read_series(job.pk, after=999, up_to=1999, buckets=50)
    assert len(bucketed.steps) <= 64
    assert bucketed.steps[-1] >= 1990


def test_points_sent_again_or_late_or_in_no_order_count_once(job):
    steps = list(range(5000))
    random.Random(1).shuffle(steps)  # noqa: S311 - the same each time is what is wanted
    for start in range(0, 5000, 500):
        batch = points(steps[start : start + 500])
        series.write_points(job.pk, batch)
        series.write_points(job.pk, batch)
    assert SealedChunk.objects.exists()
    expected = [(step, float(step), step) for step in range(5000)]
    assert history(job) == expected
    chunks = list(SealedChunk.objects.order_by("first_step").values_list("data", flat=True))
    series.write_points(job.pk, points([0, 700, 1500]))  # as they are: nothing is written anew
    assert list(SealedChunk.objects.order_by("first_step").values_list("data", flat=True)) == chunks
    series.write_points(job.pk, points([700], value=lambda _: -7.0))
    assert series.read_points(job.pk, "loss", after=699, limit=1)[0].value == -7.0
    assert min(numbers(series.read_series(job.pk)[0].lows)) == -7.0
    assert series.last_values(job.pk) == {"loss": 4999.0}


def test_what_is_no_finite_number_is_a_gap_with_a_mark(job):
    odd = {5: math.nan, 6: math.inf, 7: -math.inf}
    sent = MetricBatch(points=points(range(10), value=lambda step: odd.get(step, 1.0)))
    series.write_points(job.pk, MetricBatch.model_validate(sent.model_dump(mode="json")).points)
    (found,) = series.read_series(job.pk)
    assert found.values == [1.0] * 5 + [None] * 3 + [1.0] * 2
    assert found.marks == {5: "NaN", 6: "Infinity", 7: "-Infinity"}
    series.write_points(job.pk, points(range(10, 4000), value=lambda _: math.nan))
    assert SealedChunk.objects.exists()
    (found,) = series.read_series(job.pk)
    assert (found.values[0], found.values[-1], found.marks[3999]) == (1.0, None, "NaN")
    assert math.isnan(series.last_values(job.pk)["loss"])
    assert [math.isnan(value) for _, value, _ in history(job)][:8] == [False] * 5 + [True, False, False]


def test_what_stands_beyond_a_checkpoint_is_forgotten(job):
    series.write_points(job.pk, points(range(5000)) + points([10, 4000], name="validation/loss"))
    series.write_points(job.pk, points([4500], name="late") + points([9000], name="system/cpu"))
    assert SealedChunk.objects.exists()
    series.drop_points_beyond(job.pk, 2500)
    assert [step for step, _, _ in history(job)] == list(range(2501))
    assert series.last_values(job.pk) == {"loss": 2500.0, "validation/loss": 10.0, "system/cpu": 9000.0}
    series.drop_points_beyond(job.pk, 700)
    series.write_points(job.pk, points(range(701, 5000), value=lambda step: -float(step)))
    assert history(job) == [(step, float(step if step <= 700 else -step), step) for step in range(5000)]
    assert max(numbers(series.read_series(job.pk, names=["loss"])[0].highs)) == 700.0


def test_ten_thousand_names_are_taken_and_read_in_pages(job, django_assert_max_num_queries):
    batch = [MetricPoint(name=f"layer {n:05}: norm", step=1, value=n) for n in range(10_000)]
    with django_assert_max_num_queries(6):
        series.write_points(job.pk, batch)
    assert MetricSeries.objects.filter(job=job).count() == 10_000
    assert len(series.read_series(job.pk)) == series.MAX_SERIES
    with django_assert_max_num_queries(3):
        (found,) = series.read_series(job.pk, names=["layer 09999: norm"])
    assert found.values == [9999.0]
