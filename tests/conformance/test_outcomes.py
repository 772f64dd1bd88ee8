"""How the conformance check weighs what the suite's tests came to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.hub.outcomes import NEEDS_PRODUCTION, put_between, read_scope, table, weigh

SCOPE = """
[[theme]]
name = "Spaces"
reason = "No applications here."
tests = ["test_a.py::TestSpaces::*", "test_a.py::test_one[x]"]
"""


def outcome(result, why=""):
    return {"outcome": result, "why": why}


def test_only_a_failure_that_no_theme_covers_counts_as_one():
    found = {
        "tests/test_a.py::TestSpaces::test_pause": outcome("failed"),
        "tests/test_a.py::test_one[x]": outcome("failed"),
        "tests/test_a.py::test_two[x]": outcome("failed"),
        "tests/test_a.py::TestSpaces::test_name": outcome("passed"),
        "tests/test_a.py::test_likes": outcome("skipped", f"Skipped: {NEEDS_PRODUCTION}"),
        "tests/test_a.py::test_windows": outcome("skipped", "Skipped: Windows only"),
    }
    tally = weigh(found, read_scope(SCOPE))
    assert tally.failed == ["test_a.py::test_two[x]"]
    assert tally.counts == (1, 1, 2, 1, 1)
    assert table({"test_a": tally}).splitlines()[-1].split("|")[2].strip() == "**1**"


@pytest.mark.parametrize("left_out", ["reason", "tests"])
def test_a_theme_needs_a_reason_and_its_tests(left_out):
    text = "\n".join(line for line in SCOPE.splitlines() if not line.startswith(left_out))
    with pytest.raises(ValueError, match="'Spaces' needs a reason and the tests"):
        read_scope(text)


def test_the_list_that_is_kept_can_be_read():
    assert read_scope((Path(__file__).parent / "hub" / "out_of_scope.toml").read_text())


def test_figures_replace_the_former_ones_and_nothing_else():
    document = "before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n"
    assert put_between(document, "figures", "new") == document.replace("old", "new")
    with pytest.raises(ValueError, match="no place marked"):
        put_between("nothing", "figures", "new")
