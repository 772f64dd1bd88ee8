"""Evaluations: what is kept of them, who sees what, and which differences are noise."""

from __future__ import annotations

import base64

import pytest

from steelyard_contracts.errors import GateRefusedError, InvalidInputError, NotFoundError
from steelyard_contracts.evaluation import ClassRow, Confusion, Interval, Measures, Replicates, WorstSample, pack
from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.weights.evaluations import (
    compare_evaluations,
    detail_of,
    find_evaluation,
    sample_picture,
)
from steelyard_platform.weights.services import add_gate, promote_version, record_evaluation
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n a picture"


@pytest.fixture
def versions(owner, team):
    model = make_repository(team, owner, "reader", public=True)
    return [commit_files(model, owner, {"w": bytes([number])}) for number in range(3)]


@pytest.fixture
def dataset(owner, team):
    return picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)


def report(accuracy=0.9, pictures="same", noise=0.01, **fields):
    """With resamples that lie within `noise` of the figure."""
    values = [accuracy + noise * ((number % 11) / 5 - 1) for number in range(100)]
    return EvaluationReport(
        model="-", dataset="-", runtime="onnxruntime-cpu", task="image-classification", pictures=200,
        metrics={"accuracy": accuracy}, intervals={"accuracy": Interval(low=accuracy - noise, high=accuracy + noise)},
        measures=Measures(
            classes=[ClassRow(label="cat", support=5, measures={"f1": 0.75})],
            confusion=Confusion(labels=["cat", "dog"], counts=[[4, 1], [0, 5]]),
        ),
        replicates=Replicates(pictures=pictures, values={"accuracy": pack(values)}),
        samples=[WorstSample(
            path="validation/cat/1.png", truth="cat", answer="dog 0.90", cost=2.3,
            picture=base64.b64encode(PNG).decode(),
        )],
        **fields,
    )  # fmt: skip


def record(version, dataset, **fields):
    return record_evaluation(version=version, dataset=dataset, report=report(**fields), job=None)


def test_all_of_it_is_kept_and_shown(versions, dataset, owner):
    evaluation, actor = record(versions[0], dataset), actor_for_user(owner)
    found = detail_of(find_evaluation(versions[0], evaluation.pk, actor), actor)
    assert found.intervals["accuracy"].low == pytest.approx(0.89)
    assert found.measures.classes[0].label == "cat"
    assert found.measures.confusion is not None
    assert found.measures.confusion.counts == [[4, 1], [0, 5]]
    assert str(found.samples[0].picture).endswith(f"/versions/v1/evaluations/{evaluation.pk}/samples/0")
    assert sample_picture(evaluation, 0, actor) == PNG
    with pytest.raises(NotFoundError, match="no such picture"):
        sample_picture(evaluation, 1, actor)


def test_an_old_report_has_figures_and_nothing_else(versions, dataset, owner):
    old = EvaluationReport(model="-", dataset="-", runtime="torch-cpu", metrics={"accuracy": 0.9})
    evaluation = record_evaluation(version=versions[0], dataset=dataset, report=old, job=None)
    found = detail_of(evaluation, actor_for_user(owner))
    assert (found.metrics, found.intervals, found.measures.classes, found.samples) == ({"accuracy": 0.9}, {}, [], [])


def test_who_may_not_see_the_dataset_sees_no_evaluation_on_it(versions, dataset):
    evaluation, stranger = record(versions[0], dataset), actor_for_user(make_user())
    with pytest.raises(NotFoundError, match="has no evaluation"):
        find_evaluation(versions[0], evaluation.pk, stranger)
    record(versions[1], dataset)
    assert compare_evaluations(versions[:2], stranger).places == []


def test_pictures_are_for_those_who_may_read_the_datasets_files(versions, dataset):
    """Others see the figures of a dataset that they may see, such as a gated one, and nothing of its files."""
    evaluation, stranger = record(versions[0], dataset), actor_for_user(make_user())
    dataset.repository.is_public, dataset.repository.gate = True, "manual"
    dataset.repository.save()
    found = detail_of(find_evaluation(versions[0], evaluation.pk, stranger), stranger)
    assert found.metrics == {"accuracy": 0.9}
    assert found.samples == []
    with pytest.raises(NotFoundError, match="you may not see it"):
        sample_picture(find_evaluation(versions[0], evaluation.pk, stranger), 0, stranger)


def test_a_difference_within_noise_is_told_from_one_beyond_it(versions, dataset, owner):
    record(versions[0], dataset, accuracy=0.5)  # an older one, which does not count any more
    for version, accuracy, noise in zip(versions, (0.90, 0.902, 0.95), (0.01, 0.02, 0.01), strict=True):
        record(version, dataset, accuracy=accuracy, noise=noise)
    (place,) = compare_evaluations(versions, actor_for_user(owner)).places
    assert place.dataset.endswith("/digits@v1")
    assert place.rows[0].differences == []
    lucky, real = place.rows[1].differences[0], place.rows[2].differences[0]
    assert (lucky.left, lucky.right, lucky.is_noise) == (0.9, 0.902, True)
    assert (round(real.difference, 6), real.is_noise) == (0.05, False)
    assert real.interval is not None
    assert 0 < real.interval.low <= real.difference <= real.interval.high


def test_what_was_measured_on_other_pictures_is_not_paired(versions, dataset, owner):
    record(versions[0], dataset)
    record(versions[1], dataset, pictures="others")
    (place,) = compare_evaluations(versions, actor_for_user(owner)).places
    assert [row.evaluation is None for row in place.rows] == [False, False, True]
    assert place.rows[1].differences[0].is_noise is None


def test_a_comparison_needs_two_versions(versions, owner):
    with pytest.raises(InvalidInputError, match="Name two to 8 versions to compare; 1 were named"):
        compare_evaluations(versions[:1], actor_for_user(owner))


def test_gates_ask_for_a_class_and_for_the_worse_end(versions, dataset, owner):
    actor = actor_for_user(owner)
    record(versions[0], dataset)
    for rule in ("f1[cat] >= 0.7", "accuracy lower >= 0.88"):
        add_gate(repository=versions[0].repository, text=rule, applies_to="*", actor=actor)
    promote_version(version=versions[0], alias="good", reason="", actor=actor)
    add_gate(repository=versions[0].repository, text="accuracy lower >= 0.9", applies_to="strict", actor=actor)
    with pytest.raises(GateRefusedError, match=r"the lower end of accuracy is 0\.89; at least 0\.9 is asked"):
        promote_version(version=versions[0], alias="strict", reason="", actor=actor)


def test_a_sample_that_is_no_picture_is_refused(versions, dataset):
    sample = report().samples[0].model_copy(update={"picture": base64.b64encode(b"<svg>").decode()})
    with pytest.raises(InvalidInputError, match="is a PNG or a JPEG"):
        record_evaluation(
            version=versions[0], dataset=dataset, report=report().model_copy(update={"samples": [sample]}), job=None
        )
