"""Searches on a real installation: three tiny trainings to a promoted version, and controllers that race."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import steelyard
from steelyard_contracts.searches import Choices, FloatRange, SearchState, TrialState
from tests.support.installations import ROOT

pytestmark = [pytest.mark.end_to_end, pytest.mark.long]


def test_three_trainings_leave_one_promoted_version(hub, installation, dataset, quick):
    search = hub.searches.start(
        train={"dataset": dataset, "output": "lab/tuned", **quick},
        space={
            "learning_rate": FloatRange(low=1e-4, high=1e-1, log=True),
            "label_smoothing": Choices(choices=[0.0, 0.1]),
        },
        trials=3,
        parallel=2,
        promote_to="candidate",
        seed=3,
    )
    final = hub.searches.wait(search.id)
    assert final.state is SearchState.SUCCEEDED, final.message
    trials = list(hub.searches.trials(search.id))
    assert [one.state for one in trials] == [TrialState.COMPLETE] * 3, [one.reason for one in trials]
    assert final.best is not None
    assert final.best.value == max(one.value for one in trials)
    job = hub.job(trials[0].job)
    assert (job.search, job.trial) == (search.id, 1)
    assert job.spec.learning_rate == trials[0].params["learning_rate"]
    while (made := hub.searches.get(search.id).version) is None or not hub.version(made).aliases:
        time.sleep(0.1)
    version = hub.version("lab/tuned@candidate")
    assert version.branch == "main"
    assert version.evaluations[0].metrics["accuracy"] == pytest.approx(final.best.value)
    assert {edge.relation for edge in version.lineage} == {"trained-on", "evaluated-on"}
    assert [one.branch for one in hub.versions("lab/tuned")] == ["main"]
    shown = installation.run("steelyard", "tune", "show", str(search.id)).stdout
    assert "lab/tuned is succeeded: 3 complete" in shown


# A controller that is a worker too: it moves all searches on, and ends every trial it can get with a known value.
DRIVER = """
import django; django.setup()
from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.jobs import Finish, JobState
from steelyard_platform.accounts.permissions import Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_secret
from steelyard_platform.jobs import services
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.search_models import Search
from steelyard_platform.jobs.trials import advance_searches
while Search.objects.filter(state="running").exists():
    advance_searches()
    for job in Job.objects.filter(search__isnull=False, state=JobState.QUEUED)[:3]:
        try:
            claim = services.claim_job(job_id=job.pk, worker="driver", actor=Actor(name="w", scope=Scope.WORKER))
            done = Finish(state=JobState.SUCCEEDED, result={"accuracy": -abs(job.spec["weight_decay"] - 0.3)})
            services.finish_job(job_id=job.pk, actor=actor_for_secret(claim.token), finish=done)
        except SteelyardError:
            pass
"""
COUNT = """
import django; django.setup()
from steelyard_platform.jobs.models import Job
print(*sorted(Job.objects.filter(search__isnull=False).values_list("trial", flat=True)))
"""


def test_controllers_that_race_make_each_trial_once(racing, stripes):
    settings = racing.settings | {
        "DJANGO_SETTINGS_MODULE": "steelyard_platform.config.settings",
        "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'contracts'}:{ROOT / 'broker'}",
    }
    with steelyard.connect(racing.url, racing.token, quiet=True) as hub:
        hub.push(stripes, "datasets:/lab/stripes")
        search = hub.searches.start(
            train={"dataset": "lab/stripes", "output": "lab/raced"},
            space={"weight_decay": FloatRange(low=0, high=1)},
            trials=24,
            parallel=6,
        )
        drivers = [subprocess.Popen([sys.executable, "-c", DRIVER], env=settings) for _ in range(3)]
        assert [one.wait(timeout=600) for one in drivers] == [0, 0, 0]
        final = hub.searches.wait(search.id)
        assert final.trials == {TrialState.COMPLETE: 24}
        assert [one.number for one in hub.searches.trials(search.id)] == list(range(1, 25))
    counted = subprocess.run([sys.executable, "-c", COUNT], env=settings, capture_output=True, text=True, check=True)
    assert counted.stdout.split() == [str(number) for number in range(1, 25)]
