"""`steelyard jobs clone JOB --set FIELD=VALUE`: values are JSON where they can be, and text otherwise."""

from __future__ import annotations

import click
import pytest

from steelyard.cli_jobs import changed_fields


def test_fields_become_a_merge_patch():
    asked = ("epochs=20", "base=null", "branch=longer", "augment=false", "architecture.depths=[1, 2]")
    assert changed_fields(asked) == {
        "epochs": 20,
        "base": None,
        "branch": "longer",
        "augment": False,
        "architecture": {"depths": [1, 2]},
    }


@pytest.mark.parametrize("text", ["epochs", "=3", "a..b=1"])
def test_what_changes_nothing_is_refused(text):
    with pytest.raises(click.UsageError, match="changes nothing; write FIELD=VALUE"):
        changed_fields((text,))
