"""By environment variables alone: PostgreSQL, S3, and Redis or RabbitMQ instead of the embedded parts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg
import pytest

import steelyard
from steelyard_contracts.jobs import JobState
from tests.support import services
from tests.support.installations import RunningInstallation

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.service("postgresql"),
    pytest.mark.service("s3"),
]


@pytest.fixture
def database():
    """A database of the test's own."""
    name = f"steelyard_{os.getpid()}_{time.time_ns()}"
    with psycopg.connect(f"{services.POSTGRESQL}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield f"{services.POSTGRESQL}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(
    params=[
        pytest.param(services.RABBITMQ, id="rabbitmq", marks=pytest.mark.service("rabbitmq")),
        pytest.param(services.REDIS, id="redis", marks=pytest.mark.service("redis")),
    ]
)
def distributed(request, tmp_path, database, s3_server):
    settings = {
        "STEELYARD_DATABASE_URL": database,
        "STEELYARD_BROKER_URL": request.param,
        **s3_server.settings(f"hub-{time.time_ns()}"),
    }
    running = RunningInstallation(tmp_path / "installation", settings)
    running.start()
    yield running
    running.stop()


def test_the_same_platform_on_real_services(distributed, stripes, quick, tmp_path):
    with steelyard.connect(distributed.url, distributed.token, quiet=True) as hub:
        large = tmp_path / "model" / "weights.bin"
        large.parent.mkdir()
        large.write_bytes(os.urandom(1_000_000) * 70)  # two parts, straight to S3
        hub.push(large.parent, "lab/large")
        pulled = hub.pull("lab/large", tmp_path / "down")
        assert (pulled / "weights.bin").read_bytes() == large.read_bytes()
        assert not (distributed.var / "objects").exists()
        hub.push(stripes, "datasets:/lab/stripes")
        final = hub.wait(hub.train(dataset="lab/stripes", output="lab/reader", **quick).id)
        assert final.state is JobState.SUCCEEDED, f"{final.error}\n{distributed.logs()}"
        assert hub.metrics(final.id)["train/loss"].steps == [1, 2, 3, 4, 5, 6]
        hub.promote("lab/reader@v1", "production")
        assert Path(hub.pull("lab/reader@production", tmp_path / "reader") / "model.safetensors").exists()
    assert not (distributed.var / "steelyard.sqlite3").exists()
    assert not (distributed.var / "broker").exists() or not list((distributed.var / "broker").rglob("*-*"))
