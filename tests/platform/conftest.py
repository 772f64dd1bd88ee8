"""A person and their team, for the platform's tests."""

from __future__ import annotations

import pytest

from tests.support.factories import make_team, make_user


@pytest.fixture
def owner():
    return make_user()


@pytest.fixture
def team(owner):
    return make_team(owner)
