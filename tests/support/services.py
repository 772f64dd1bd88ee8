"""The real services that some tests talk to. Missing: skipped with one line, or a failure with REQUIRE_SERVICES=1."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

POSTGRESQL = "postgresql://postgres@127.0.0.1:5432"
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
REDIS = "redis://127.0.0.1:6379/9"
_PORTS = {"postgresql": 5432, "rabbitmq": 5672, "redis": 6379}
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def is_there(service: str) -> bool:
    match service:
        case "chromium":
            return chromium() is not None
        case "s3":
            return weed() is not None
        case _:
            with socket.socket() as probe:
                probe.settimeout(2)
                return probe.connect_ex(("127.0.0.1", _PORTS[service])) == 0


def chromium() -> str | None:
    return next((path for name in _CHROMIUM if (path := shutil.which(name))), None)


def weed() -> str | None:
    """The S3 server's binary, from this environment."""
    import sys

    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


def are_required() -> bool:
    return os.environ.get("REQUIRE_SERVICES") == "1"


def need(service: str) -> None:
    if is_there(service):
        return
    if are_required():
        pytest.fail(f"This test needs {service}, which is not here, and REQUIRE_SERVICES=1 is set.")
    pytest.skip(f"{service} is not here")
