"""A run's page, and the runs of a project."""

from __future__ import annotations

import pytest

from steelyard_contracts.jobs import JobState
from steelyard_contracts.run_specs import GitState
from steelyard_contracts.tracking import RunPoint, RunRequest
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs import tracking
from tests.support.factories import make_repository, make_user
from tests.support.jobs import later

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(team, owner):
    return make_repository(team, owner, "shelf", public=True)


@pytest.fixture
def run(project, owner):
    request = RunRequest(
        project=project.full_name,
        name="warm-up <1>",
        config={"epochs": 10, "optimiser": {"name": "sgd"}},
        environment={"host": "bench-1", "python": "3.12.1"},
        git=GitState(commit="ab" * 20, branch="main", is_dirty=True),
        tags={"who": "ada"},
    )
    return tracking.start_run(request=request, actor=actor_for_user(owner))


def test_a_run_says_what_it_was_given_and_where_it_trains(client, run, owner, project):
    client.force_login(owner)
    text = client.get(f"/jobs/{run.pk}").content.decode()
    for word in (
        "warm-up &lt;1&gt;",
        "epochs",
        "sgd",
        "bench-1",
        "abababababab",
        "with changes",
        "ada",
        "Cancel the run",
    ):
        assert word in text
    assert f'href="/{project}/runs"' in text
    assert "Clone with changes" not in text
    assert "Resume" not in text
    assert '<p class="notice warm" id="silent" hidden>' in text


def test_a_silent_run_says_since_when(client, run, owner):
    client.force_login(owner)
    with later(3600):
        client.force_login(owner)
        text = client.get(f"/jobs/{run.pk}").content.decode()
        listed = client.get(f"/{run.run.project}/runs").content.decode()
    assert '<p class="notice warm" id="silent" >' in text
    assert '<span class="pill silent">silent</span>' in listed


def test_the_runs_of_a_project_are_found_and_compared(client, run, owner, project, django_assert_max_num_queries):
    actor = actor_for_user(owner)
    points = [RunPoint(name="val/loss", step=1, value=0.25)]
    tracking.write_points(run=run, points=points, actor=actor)
    for _ in range(5):
        other = tracking.start_run(request=RunRequest(project=project.full_name, name="other"), actor=actor)
        tracking.finish_run(run=other, state=JobState.FAILED, error="out of memory", actor=actor)
    client.force_login(owner)
    with django_assert_max_num_queries(12):
        text = client.get(f"/{project}/runs").content.decode()
    assert "other-5" in text
    assert "out of memory" in text
    assert "0.25" in text
    found = client.get(f"/{project}/runs?text=warm&state=running").content.decode()
    assert "warm-up" in found
    assert "other" not in found.split("<tbody>")[1]
    assert "No run meets all of this" in client.get(f"/{project}/runs?text=nowhere").content.decode()
    assert "is no state of a job" in client.get(f"/{project}/runs?state=x").content.decode()
    compared = client.get(f"/jobs/compare?job={run.pk}&job={other.pk}")
    assert compared.status_code == 200
    text = compared.content.decode()
    assert "optimiser.name" in text
    assert '"titles": ["warm-up \\u003C1\\u003E", "other-5"]' in text
    assert text.count("</i>other-5</a>") == 1


def test_strangers_see_the_public_project_and_none_of_its_runs(client, run, project):
    client.force_login(make_user())
    for address in (f"/{project}", f"/{project}/runs"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "warm-up" not in answer.content.decode()
    assert client.get(f"/jobs/{run.pk}").status_code == 404
