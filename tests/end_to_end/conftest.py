"""The SDK, pictures, and installations of their own for end-to-end tests."""

from __future__ import annotations

import os
import time

import numpy as np
import psycopg
import pytest
from PIL import Image

import steelyard
from tests.support import services
from tests.support.installations import RunningInstallation


@pytest.fixture
def hub(installation):
    with steelyard.connect(installation.url, installation.token, quiet=True) as client:
        yield client


def write_stripes(root, labels=("across", "down"), count=10):
    """A dataset in ImageFolder layout that a small network learns in seconds."""
    generator = np.random.default_rng(0)
    for split in ("train", "validation"):
        for label in labels:
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                picture = generator.integers(0, 60, (16, 16)).astype("uint8")
                if label == "across":
                    picture[::4] += 190
                else:
                    picture[:, ::4] += 190
                Image.fromarray(picture).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def stripes(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("stripes") / "data")


@pytest.fixture(scope="session")
def dataset(installation, stripes):
    """The stripes, pushed: `lab/stripes`."""
    with steelyard.connect(installation.url, installation.token, quiet=True) as client:
        client.push(stripes, "datasets:/lab/stripes")
    return "lab/stripes"


SMALL = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}


@pytest.fixture(scope="session")
def quick():
    """Fields of a training that takes a moment."""
    return {"architecture": SMALL, "image_size": 16, "epochs": 2, "batch_size": 8}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service("postgresql"))])
def racing(request, tmp_path):
    """An installation of the test's own, on each database; with the `SETTINGS` of the test's module, if it has any."""
    settings = getattr(request.module, "SETTINGS", {})
    if request.param == "sqlite":
        running = RunningInstallation(tmp_path / "hub", settings)
        running.start("--without-compute")
        yield running
        running.stop()
        return
    name = f"steelyard_race_{os.getpid()}_{time.time_ns()}"
    with psycopg.connect(f"{services.POSTGRESQL}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        settings = {"STEELYARD_DATABASE_URL": f"{services.POSTGRESQL}/{name}", **settings}
        running = RunningInstallation(tmp_path / "hub", settings)
        running.start("--without-compute")
        yield running
        running.stop()
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
