"""The page says what was measured, and never more than that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.transfer import table
from benchmarks.transfer.measure import Cost
from benchmarks.transfer.rounds import SCENARIOS, STEPS

SIZES = dict.fromkeys(SCENARIOS, 100_000_000)


def costs(**walls):
    return {
        name.replace("_", "-"): {
            step.key: Cost(wall, 1.0, 50_000_000, 2.0, 300_000_000, 2_000_000, 3_000_000) for step in STEPS
        }
        for name, wall in walls.items()
    }


def verdicts(found):
    return {one.sentence: one.verdict for one in table.targets(found, SIZES)}


def test_a_figure_is_the_median_of_the_timed_rounds():
    rounds = [costs(steelyard=wall) for wall in (1.0, 9.0, 2.0)]
    counted = costs(steelyard=100.0)
    counted["steelyard"]["push head"] = replace(counted["steelyard"]["push head"], moved=5_000_000)
    found = table.medians(rounds, counted)["steelyard"]["push head"]
    assert (found.wall, found.moved) == (2.0, 5_000_000)


def test_what_no_round_measured_stays_unknown():
    folder = {"dvc": {step.key: Cost(1.0, 1.0, 1) for step in STEPS}}
    found = table.medians([folder], folder)["dvc"]["push base"]
    assert found.server_cpu is None
    assert found.web_peak is None


@pytest.mark.parametrize(("ours", "verdict"), [(5.0, "met"), (5.1, "**not met**")])
def test_a_target_is_met_up_to_its_limit(ours, verdict):
    assert verdicts(costs(steelyard=ours, hf=1.0, mlflow=10.0))["cold push, of MLflow's time"] == verdict


def test_hf_is_held_against_the_fastest_peer():
    sentence = "hf: head-only push, of the fastest peer's time"
    assert verdicts(costs(hf=2.0, mlflow=10.0, dvc=3.0))[sentence] == "met"
    assert verdicts(costs(hf=2.0, mlflow=10.0, dvc=3.0, git_lfs=1.0))[sentence] == "**not met**"


def test_a_missing_peer_is_named_in_every_table_and_judges_nothing():
    found = costs(steelyard=1.0, hf=1.0, dvc=1.0)
    assert verdicts(found)["cold push, of MLflow's time"] == "not measured"
    row = next(line for line in table.page(found, SIZES).splitlines() if line.startswith("| push new weights"))
    assert row == "| push new weights | 1.00 s | 1.00 s | not installed | 1.00 s | not installed |"


def test_cells_show_the_figure_and_what_it_is_a_share_of():
    page = table.page(costs(steelyard=1.0, hf=2.0, mlflow=4.0, dvc=5.0, git_lfs=0.5), SIZES)
    assert "| push new weights | 1.00 s (0.25x) | 2.00 s (0.50x) | 4.00 s | 5.00 s (1.25x) | 0.50 s (0.12x) |" in page
    assert "2.0 MB (2.0%)" in page
    assert "1.00 + 2.00 s" in page
    assert "50 / 300 MB" in page
