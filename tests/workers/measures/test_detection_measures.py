"""Measures of a detector: small cases by hand, and the bootstrap beside pycocotools itself."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard_workers.measures import bootstrap, detection
from steelyard_workers.measures.detection import Detections, Truths


def truths(*boxes, labels=None):
    return Truths(np.array(boxes, float).reshape(-1, 4), np.array(labels or [0] * len(boxes), int))


def said(*rows, labels=None):
    """Rows are (box…, score)."""
    table = np.array(rows, float).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], np.array(labels or [0] * len(rows), int))


BOX, ELSEWHERE = (10, 10, 30, 30), (40, 40, 60, 60)


def test_boxes_that_are_all_found_are_worth_one():
    found = detection.measures([said((*BOX, 0.9)), said((*ELSEWHERE, 0.8))], [truths(BOX), truths(ELSEWHERE)], ["cat"])
    assert found.headline() == {"map50": 1.0, "map50_95": 1.0}
    assert found.missed.tolist() == found.false_alarms.tolist() == [0, 0]


def test_overlap_decides_which_thresholds_a_box_passes():
    shifted = (10, 10, 30, 26)  # 320 of 400 square pixels: overlap 0.8
    found = detection.measures([said((*shifted, 0.9))], [truths(BOX)], ["cat"])
    assert found.map50 == pytest.approx(1)
    assert found.map50_95 == pytest.approx(7 / 10)  # 0.5 to 0.8 of ten thresholds


def test_a_false_alarm_that_is_surer_than_the_box_halves_precision():
    found = detection.measures([said((*ELSEWHERE, 0.9), (*BOX, 0.8))], [truths(BOX)], ["cat"])
    assert found.map50 == pytest.approx(0.5)
    assert found.false_alarms.tolist() == [1]


def test_a_missed_box_costs_recall():
    found = detection.measures([said((*BOX, 0.9))], [truths(BOX, ELSEWHERE)], ["cat"])
    assert found.map50 == pytest.approx(51 / 101)  # precision 1 at recalls 0 to 0.5
    assert found.missed.tolist() == [1]


def test_a_box_that_is_found_without_being_sure_is_missed_on_its_picture():
    found = detection.measures([said((*BOX, 0.1))], [truths(BOX)], ["cat"])
    assert found.map50 == pytest.approx(1)
    assert (found.missed.tolist(), found.false_alarms.tolist()) == ([1], [0])


def test_classes_are_told_apart_and_one_without_boxes_does_not_count():
    found = detection.measures([said((*BOX, 0.9), labels=[1])], [truths(BOX, labels=[0])], ["cat", "dog", "bird"])
    assert found.map50 == 0
    assert np.isnan(found.ap50[1:]).all()
    assert found.support.tolist() == [1, 0, 0]
    assert found.precision_recall[2] is None


def test_a_split_without_boxes_cannot_be_measured():
    with pytest.raises(ValueError, match="no picture has a box"):
        detection.measures([said((*BOX, 0.9))], [truths()], ["cat"])


def scene(seed=4, pictures=30, classes=3):
    """Pictures with a few boxes; detections that are near them, miss some, and raise false alarms."""
    generator = np.random.default_rng(seed)
    predictions, known = [], []
    for _ in range(pictures):
        count = int(generator.integers(0, 5))
        corner = generator.uniform(0, 70, (count, 2))
        boxes = np.hstack([corner, corner + generator.uniform(10, 30, (count, 2))])
        labels = generator.integers(0, classes, count)
        known.append(Truths(boxes, labels))
        anywhere = generator.uniform(0, 50, (2, 4)) + np.array([0, 0, 50, 50])
        near = np.vstack([boxes + generator.normal(0, 2.5, boxes.shape), anywhere])
        named = np.append(labels, generator.integers(0, classes, 2))
        kept = generator.uniform(size=len(near)) > 0.2
        predictions.append(Detections(near[kept], generator.uniform(0, 1, kept.sum()).round(2), named[kept]))
    return predictions, known


def test_drawing_pictures_twice_is_measuring_them_twice():
    predictions, known = scene()
    found = detection.measures(predictions, known, ["a", "b", "c"])
    figures = bootstrap.of_detection(found.matches)
    once = figures(np.ones((1, len(known))))
    assert (once["map50"][0], once["map50_95"][0]) == pytest.approx((found.map50, found.map50_95), abs=1e-9)
    counts = np.random.default_rng(1).integers(0, 3, len(known))
    drawn = np.repeat(np.arange(len(known)), counts)
    again = detection.measures([predictions[n] for n in drawn], [known[n] for n in drawn], ["a", "b", "c"])
    weighed = figures(counts[None].astype(float))
    assert weighed["map50"][0] == pytest.approx(again.map50, abs=0.01)  # equal scores may come in another order
    assert weighed["map50_95"][0] == pytest.approx(again.map50_95, abs=0.01)


def test_the_interval_holds_the_figure():
    predictions, known = scene()
    found = detection.measures(predictions, known, ["a", "b", "c"])
    values = bootstrap.replicates(len(known), bootstrap.of_detection(found.matches), count=100)
    low, high = bootstrap.interval(values["map50"])
    assert low < found.map50 < high
    assert high - low < 0.5
