"""Measures of a classifier beside scikit-learn's, and what its figures' intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from steelyard_workers.measures import bootstrap, classification
from steelyard_workers.measures.calibration import BINS
from steelyard_workers.measures.curves import MOST_POINTS, thinned


def answers(pictures=400, classes=7, seed=3, *, ties=False):
    """Probabilities that lean towards the truth. With ties, many scores are equal."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, pictures)
    logits = generator.normal(size=(pictures, classes))
    logits[np.arange(pictures), targets] += 1.2
    if ties:
        logits = logits.round()
    exponents = np.exp(logits)
    return exponents / exponents.sum(1, keepdims=True), targets


@pytest.mark.parametrize("ties", [False, True])
def test_every_figure_is_what_scikit_learn_says(ties):
    probabilities, targets = answers(ties=ties)
    found, said = classification.measures(probabilities, targets), probabilities.argmax(1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(targets, said, zero_division=0)
    np.testing.assert_allclose([found.precision, found.recall, found.f1], [precision, recall, f1])
    np.testing.assert_array_equal(found.support, support)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(targets, said))
    headline = found.headline()
    assert headline["accuracy"] == pytest.approx(metrics.accuracy_score(targets, said), abs=1e-6)
    assert headline["f1_macro"] == pytest.approx(metrics.f1_score(targets, said, average="macro"), abs=1e-6)
    assert headline["loss"] == pytest.approx(metrics.log_loss(targets, probabilities), abs=1e-6)
    auc = metrics.roc_auc_score(targets, probabilities, multi_class="ovr", average="macro")
    assert headline["roc_auc"] == pytest.approx(auc, abs=1e-6)
    for label, curve in enumerate(found.precision_recall):
        assert curve is not None
        precise = metrics.average_precision_score(targets == label, probabilities[:, label])
        assert curve.area == pytest.approx(precise)
        assert len(curve.x) <= MOST_POINTS
        assert curve.x[-1] == 1


def test_top_5_is_what_scikit_learn_says_and_is_left_out_where_it_says_nothing():
    probabilities, targets = answers(classes=9)
    expected = metrics.top_k_accuracy_score(targets, probabilities, k=5)
    assert classification.measures(probabilities, targets).top5 == pytest.approx(expected)
    assert "top5" not in classification.measures(*answers(classes=5)).headline()


def test_a_class_that_never_occurs_does_not_count_in_means():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0]])
    found = classification.measures(probabilities, np.array([0, 1, 0]))
    assert found.headline()["f1_macro"] == pytest.approx(2 / 3, abs=1e-6)
    assert found.roc[2] is None
    assert found.precision_recall[2] is None


def test_calibration_by_hand():
    # Two answers of 0.95, one of them right; one of 0.6, right.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6]])
    found = classification.measures(probabilities, np.array([0, 1, 1])).calibration
    assert found.error == pytest.approx((2 * 0.45 + 1 * 0.4) / 3)
    assert found.counts.sum() == 3
    assert len(found.counts) == BINS
    assert found.accuracy[-1] == pytest.approx(0.5)


def test_nothing_to_measure_is_an_error():
    with pytest.raises(ValueError, match="no pictures"):
        classification.measures(np.zeros((0, 3)), np.zeros(0, int))


def test_a_resample_that_draws_each_picture_once_has_the_figures_themselves():
    probabilities, targets = answers()
    figures = bootstrap.of_classification(probabilities, targets)(np.ones((1, len(targets))))
    headline = classification.measures(probabilities, targets).headline()
    assert {name: round(float(value[0]), 6) for name, value in figures.items()} == {
        name: headline[name] for name in figures
    }


def test_the_interval_is_the_binomial_one_and_the_same_each_time():
    probabilities, targets = answers(pictures=1000)
    figures = bootstrap.of_classification(probabilities, targets)
    values = bootstrap.replicates(len(targets), figures)["accuracy"]
    share = classification.measures(probabilities, targets).accuracy
    spread = 1.96 * np.sqrt(share * (1 - share) / 1000)
    low, high = bootstrap.interval(values)
    assert (low, high) == pytest.approx((share - spread, share + spread), abs=0.006)
    np.testing.assert_array_equal(values, bootstrap.replicates(len(targets), figures)["accuracy"])


def test_two_versions_on_the_same_pictures_differ_by_less_noise_than_each_has():
    probabilities, targets = answers(pictures=500)
    slightly = probabilities.copy()
    slightly[:5] = np.roll(slightly[:5], 1, axis=1)  # five answers are other ones
    one, other = (
        bootstrap.replicates(500, bootstrap.of_classification(each, targets))["accuracy"]
        for each in (probabilities, slightly)
    )
    low, high = bootstrap.interval(one - other)
    assert high - low < 0.03 < np.subtract(*bootstrap.interval(one)[::-1])


def test_a_thinned_curve_keeps_its_ends_and_its_shape():
    x = np.linspace(0, 1, 5000)
    few_x, few_y = thinned(x, np.sqrt(x))
    assert len(few_x) <= MOST_POINTS
    assert (few_x[0], few_x[-1], few_y[-1]) == (0, 1, 1)
    assert np.abs(np.interp(x, few_x, few_y) - np.sqrt(x)).max() < 0.01
