"""Fixtures that every part of the suite may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import services
from tests.support.installations import RunningInstallation
from tests.support.s3 import S3Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only tests that say so may open sockets."""
    for item in items:
        if item.get_closest_marker("end_to_end") or item.get_closest_marker("service"):
            item.add_marker(pytest.mark.enable_socket)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("service"):
        services.need(marker.args[0])


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstallation]:
    """One embedded installation for all end-to-end tests: SQLite, folders, a compute worker."""
    running = RunningInstallation(tmp_path_factory.mktemp("installation"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _fresh_object_store(tmp_path: Path) -> Iterator[None]:
    """Each test has an object store of its own, and none of the former one's."""
    from django.conf import settings

    from steelyard_platform.storage.services import object_store

    former, settings.ENVIRONMENT.var = settings.ENVIRONMENT.var, tmp_path / "var"
    object_store.cache_clear()
    yield
    settings.ENVIRONMENT.var = former
    object_store.cache_clear()
