"""A dataset to train on, and a training that was asked for."""

from __future__ import annotations

import pytest

from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import TrainSpec
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs import services
from tests.support.factories import make_repository, picture_dataset


@pytest.fixture
def dataset(owner, team):
    return picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)


@pytest.fixture
def job(owner, team, dataset):
    spec = TrainSpec(dataset=f"{team}/digits", output=f"{team}/reader")
    return services.request_job(spec=spec, actor=actor_for_user(owner))
