"""Measures of a segmentation: by hand, and beside scikit-learn's Jaccard index."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from steelyard_workers.measures import bootstrap, segmentation
from steelyard_workers.measures.segmentation import IGNORED, pixel_confusion


def test_by_hand():
    true, answered = np.array([[0, 0, 1], [1, 1, IGNORED]]), np.array([[0, 1, 1], [1, 0, 0]])
    confusion = pixel_confusion(true, answered, 3)
    assert confusion.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    found = segmentation.measures(confusion)
    assert found.iou[:2].tolist() == pytest.approx([1 / 3, 2 / 4])
    assert np.isnan(found.iou[2])
    assert found.headline() == {"mean_iou": pytest.approx(5 / 12, abs=1e-6), "pixel_accuracy": 0.6}


def test_it_is_what_scikit_learn_says():
    generator = np.random.default_rng(0)
    true, answered = generator.integers(0, 4, (2, 5000))
    found = segmentation.measures(pixel_confusion(true, answered, 4))
    np.testing.assert_allclose(found.iou, metrics.jaccard_score(true, answered, average=None))


def test_a_mask_of_nothing_cannot_be_measured():
    with pytest.raises(ValueError, match="no pixel counts"):
        segmentation.measures(np.zeros((2, 2), int))


def test_a_resample_that_draws_each_picture_once_has_the_figures_themselves():
    generator = np.random.default_rng(5)
    masks = [(generator.integers(0, 3, 100), generator.integers(0, 3, 100)) for _ in range(20)]
    each = np.stack([pixel_confusion(*pair, 3) for pair in masks])
    right, answered, true = np.diagonal(each, axis1=1, axis2=2), each.sum(1), each.sum(2)
    figures = bootstrap.of_segmentation(right, answered, true)
    found = segmentation.measures(each.sum(0))
    once = figures(np.ones((1, 20)))
    assert (once["mean_iou"][0], once["pixel_accuracy"][0]) == pytest.approx((found.mean_iou, found.pixel_accuracy))
    low, high = bootstrap.interval(bootstrap.replicates(20, figures)["mean_iou"])
    assert low < found.mean_iou < high
