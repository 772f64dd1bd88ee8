"""An evaluation's page, versions side by side, and the same over the API."""

from __future__ import annotations

import base64
import re

import pytest

from steelyard_contracts.evaluation import (
    CalibrationBin,
    ClassRow,
    Confusion,
    CurveKind,
    CurveRow,
    Interval,
    Measures,
    Replicates,
    WorstSample,
    pack,
)
from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.jobs.models import Job
from steelyard_platform.pages.templatetags.evaluations import line_of
from steelyard_platform.repos.models import Repository
from steelyard_platform.weights.services import record_evaluation
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n a picture"


def report(accuracy):
    # Of the second version the other way round: the difference goes from one side of nought to the other.
    slope = 1 if accuracy < 0.9005 else -1
    values = [accuracy + slope * number / 10_000 for number in range(-50, 51)]
    return EvaluationReport(
        model="-", dataset="-", runtime="torch-cpu", task="image-classification", pictures=20,
        metrics={"accuracy": accuracy, "bytes": 2000}, intervals={"accuracy": Interval(low=0.85, high=0.95)},
        measures=Measures(
            classes=[
                ClassRow(label="<b>cat</b>", support=15, measures={"f1": 0.9}),
                ClassRow(label="dog", support=5, measures={"f1": 0.4}),
            ],
            confusion=Confusion(labels=["<b>cat</b>", "dog"], counts=[[14, 1], [3, 2]]),
            curves=[CurveRow(kind=CurveKind.ROC, label="dog", area=0.75, x=[0, 0.5, 1], y=[0, 1, 1])],
            calibration=[CalibrationBin(count=20, confidence=0.9, accuracy=0.8)],
        ),
        replicates=Replicates(pictures="same", values={"accuracy": pack(values)}),
        samples=[WorstSample(
            path="validation/dog/1.png", truth="dog", answer="cat 0.99", cost=4.6,
            picture=base64.b64encode(PNG).decode(),
        )],
    )  # fmt: skip


@pytest.fixture
def measured(owner, team):
    """Two versions that differ by less than the noise: their evaluations."""
    dataset = picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    model = make_repository(team, owner, "reader")
    return [
        record_evaluation(
            version=commit_files(model, owner, {"w": bytes([number])}),
            dataset=dataset,
            report=report(accuracy),
            job=None,
        )
        for number, accuracy in enumerate((0.9, 0.901))
    ]


@pytest.fixture
def browser(client, owner):
    client.force_login(owner)
    return client


def test_the_page_shows_all_that_was_measured(browser, measured, team):
    home = f"/{team}/reader/versions/v1/evaluations/{measured[0].pk}"
    text = browser.get(f"{home}?sort=f1").content.decode()
    assert "0.85 to 0.95" in text
    assert "&lt;b&gt;cat&lt;/b&gt;" in text
    assert "<b>cat</b>" not in text
    classes = text[text.index('id="classes"') :]
    assert classes.index(">dog<") < classes.index("&lt;b&gt;cat")  # the worst first
    assert re.search(r'<polyline points="0\.0,200\.0 100\.0,0\.0 200\.0,0\.0" class="series-1"><title>dog: 0\.75', text)
    assert "20 answers, 0.90 sure on average, 0.80 of them right" in text
    picture = re.search(r'<img src="([^"]+/samples/0)"', text)
    assert picture
    answer = browser.get(picture[1])
    assert (answer.content, answer["Content-Type"], answer["X-Content-Type-Options"]) == (PNG, "image/png", "nosniff")


def test_the_curves_of_sixteen_classes_are_told_apart():
    assert len({line_of(place) for place in range(16)}) == 16
    assert [line_of(place) for place in (0, 7, 8)] == ["series-1", "series-8", "series-1 dashed"]


def test_a_versions_page_has_intervals_and_leads_there(browser, measured, team):
    text = browser.get(f"/{team}/reader/versions/v1").content.decode()
    assert "0.85 to 0.95" in text
    assert f"/versions/v1/evaluations/{measured[0].pk}" in text


def test_a_version_is_measured_from_its_page(browser, measured, team, owner):
    home = f"/{team}/reader/versions/v1"
    page = browser.get(home).content.decode()
    assert f'action="{home}/evaluate"' in page
    assert f'<option value="{team}/digits">' in page
    answer = browser.post(f"{home}/evaluate", {"dataset": f"{team}/digits", "split": "train"})
    job = Job.objects.get(kind="evaluate")
    assert answer["Location"] == f"/jobs/{job.pk}"
    assert (job.spec["model"], job.spec["split"]) == (f"{team}/reader@v1", "train")
    refused = browser.post(f"{home}/evaluate", {"dataset": f"{team}/digits", "split": "no such"})
    assert refused.status_code == 400
    assert "This cannot be measured: split" in refused.content.decode()


def test_who_may_not_run_jobs_is_not_offered_one(client, measured, team):
    Repository.objects.update(is_public=True)
    home = f"/{team}/reader/versions/v1"
    assert "Measure it on a dataset" not in client.get(home).content.decode()
    assert client.post(f"{home}/evaluate", {"dataset": f"{team}/digits"})["Location"].startswith("/login")
    client.force_login(make_user())
    assert "Measure it on a dataset" not in client.get(home).content.decode()
    assert client.post(f"{home}/evaluate", {"dataset": f"{team}/digits"}).status_code == 403


def test_a_difference_within_noise_is_said_to_be_that(browser, measured, team):
    for address in (
        f"/evaluations/compare?ref={team}/reader@v1&ref={team}/reader@v2",
        f"/{team}/reader/compare/v1...v2",
    ):
        text = browser.get(address).content.decode()
        assert "the difference is within noise" in text
        assert "+0.001 " in text or "+0.001<" in text
    assert browser.get(f"/evaluations/compare?ref={team}/reader@v1").status_code == 400


def test_strangers_see_none_of_it(client, measured, team):
    for address in (
        f"/{team}/reader/versions/v1/evaluations/{measured[0].pk}",
        f"/{team}/reader/versions/v1/evaluations/{measured[0].pk}/samples/0",
        f"/evaluations/compare?ref={team}/reader@v1&ref={team}/reader@v2",
    ):
        assert client.get(address)["Location"].startswith("/login")
    assert client.get(f"/api/v1/models/{team}/reader/versions/v1/evaluations").status_code == 404


def test_the_api_lists_details_and_compares(client, measured, team, owner):
    headers = {"Authorization": f"Bearer {token_for(owner)}"}

    def get(path):
        return client.get(f"/api/v1/{path}", headers=headers)

    home = f"models/{team}/reader/versions/v1/evaluations"
    (row,) = get(home).json()["items"]
    assert (row["metrics"]["accuracy"], row["intervals"]["accuracy"]["low"]) == (0.9, 0.85)
    detail = get(f"{home}/{row['id']}").json()
    assert detail["measures"]["confusion"]["counts"] == [[14, 1], [3, 2]]
    assert get(f"{home}/{row['id']}/samples/0").content == PNG
    assert get(f"{home}/999999").status_code == 404
    found = get(f"evaluations/compare?ref={team}/reader@v1&ref={team}/reader@v2").json()
    assert found["versions"] == [f"{team}/reader@v1", f"{team}/reader@v2"]
    (difference, _) = found["places"][0]["rows"][1]["differences"]
    assert (difference["metric"], difference["is_noise"]) == ("accuracy", True)
    version = get(f"models/{team}/reader/versions/v1").json()
    assert version["evaluations"][0]["pictures"] == 20
