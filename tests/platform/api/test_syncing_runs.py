"""What the SDK sends of a run, taken by the API itself: no socket lies between them."""

from __future__ import annotations

import httpx2
import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from PIL import Image

import steelyard
from steelyard.tracking import sync
from steelyard_contracts.jobs import JobState
from steelyard_platform.config.wsgi import application
from steelyard_platform.jobs.models import Job, LogLine, Sample
from steelyard_platform.jobs.series import read_points
from tests.support.factories import token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def hub(owner):
    """The SDK's own client, whose requests go straight into the application."""
    token = token_for(owner)
    client = steelyard.Client("http://localhost", token, quiet=True)
    client.transport._http = httpx2.Client(
        base_url="http://localhost",
        headers={"Authorization": f"Bearer {token}"},
        transport=httpx2.WSGITransport(app=application),
    )
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield client
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def run(tmp_path, team):
    return steelyard.init(
        f"{team}/shelf",
        name="exp",
        config={"lr": 0.1},
        total_steps=10,
        offline=True,
        folder=tmp_path / "runs",
        quiet=True,
    )


def test_everything_that_a_run_says_arrives_once(run, hub, team, tmp_path):
    for step in range(10):
        run.log({"loss": 1 / (step + 1), "mAP50(B)": float("nan")})
        run.write(f"\x1b[32mstep {step}\x1b[0m")
    run.log({"seen": Image.new("RGB", (8, 6))}, step=3)
    run.config["epochs"] = 3
    run.update(tags={"who": "ada"})
    labels = tmp_path / "labels.txt"
    labels.write_text("across down")
    run.save(labels)
    run.finish(result={"accuracy": 0.5})
    (found,) = sync(run.folder, client=hub)
    assert (found.name, found.fault, found.versions) == ("exp", "", (f"{team}/shelf@v1",))
    job = Job.objects.get(pk=found.run)
    assert (job.state, job.progress, job.result["accuracy"]) == (JobState.SUCCEEDED, 1.0, 0.5)
    assert (job.spec["config"], job.run.tags) == ({"lr": 0.1, "epochs": 3}, {"who": "ada"})
    assert "python" in job.run.environment
    assert [point.value for point in read_points(job.pk, "loss")] == [1 / (step + 1) for step in range(10)]
    assert len(read_points(job.pk, "mAP50_B")) == 10
    lines = LogLine.objects.filter(job=job).order_by("number").values_list("text", flat=True)
    assert list(lines) == [f"\x1b[32mstep {step}\x1b[0m" for step in range(10)]
    (sample,) = Sample.objects.filter(job=job)
    assert (sample.name, sample.step, sample.width) == ("seen", 3, 8)
    assert not run.folder.exists()


def test_a_folder_that_is_sent_from_two_places_is_one_run(run, hub, tmp_path):
    import shutil

    run.log({"loss": 1.0})
    run.finish()
    copy = tmp_path / "copy" / run.folder.name
    shutil.copytree(run.folder, copy)
    (first,), (second,) = list(sync(run.folder, client=hub)), list(sync(copy, client=hub))
    assert (first.fault, second.fault, first.run) == ("", "", second.run)
    assert len(read_points(Job.objects.get().pk, "loss")) == 1


def test_the_client_lists_and_shows_runs(run, hub, team):
    run.log({"loss": 0.25})
    run.finish("failed", error="out of memory")
    (found,) = sync(run.folder, client=hub)
    (view,) = hub.runs.list(f"{team}/shelf", state=JobState.FAILED)
    assert view.run is not None
    assert (str(view.id), view.error, view.run.name) == (found.run, "out of memory", "exp")
    assert hub.runs.get(view.id).run == view.run
    assert [point.value for point in hub.runs.points(view.id, "loss")] == [0.25]
    assert list(hub.runs.list(f"{team}/shelf", text="nowhere")) == []
