"""A pytest plugin that points MLflow's own REST tests at a Steelyard. `__main__` runs it.

The tests start MLflow's server in a thread, on a database of their own. In its place stands something that starts
nothing: it hands out the Steelyard's address, and the token of somebody whom no other test speaks for.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

_FACTS = json.loads(Path(os.environ["STEELYARD_CONFORMANCE"]).read_text())
_outcomes: dict[str, dict[str, str]] = {}
_tokens = iter(_FACTS["tokens"])


class StandIn:
    """In the place of the suite's `ServerThread`."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> str:
        os.environ["MLFLOW_TRACKING_TOKEN"] = next(_tokens)
        return str(_FACTS["url"])

    def __exit__(self, *_: object) -> None:
        os.environ.pop("MLFLOW_TRACKING_TOKEN", None)


def _put_in_place() -> None:
    """Before the tests take these by name."""
    handlers = importlib.import_module("mlflow.server.handlers")
    vars(handlers)["initialize_backend_stores"] = lambda *_, **__: None
    utilities = importlib.import_module("tests.tracking.integration_test_utils")
    vars(utilities)["ServerThread"] = StandIn
    _introduce_requests_by_hand()


def _introduce_requests_by_hand() -> None:
    """Some tests ask by `requests` alone, as of a server without accounts."""
    import requests

    plain = requests.sessions.Session.request

    def introduced(session: Any, method: str, url: str, **more: Any) -> Any:
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        if token and url.startswith(_FACTS["url"]):
            more["headers"] = {"Authorization": f"Bearer {token}", **(more.get("headers") or {})}
        return plain(session, method, url, **more)

    vars(requests.sessions)["Session"].request = introduced


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    _put_in_place()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Once is enough: the suite asks the same of a server on files and of one on a database."""
    on_files = [item for item in items if _is_on_files(item)]
    items[:] = [item for item in items if item not in on_files]
    config.hook.pytest_deselected(items=on_files)


def _is_on_files(item: pytest.Item) -> bool:
    asked = getattr(item, "callspec", None)
    return asked is not None and "file" in asked.params.values()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The worst of a test's three phases is what it came to."""
    if report.when != "call" and report.passed:
        return
    if _outcomes.get(report.nodeid, {}).get("outcome") != "failed":
        why = str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else ""
        _outcomes[report.nodeid] = {"outcome": report.outcome, "why": why}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _outcomes[report.nodeid] = {"outcome": "failed", "why": "could not be collected"}


def pytest_sessionfinish() -> None:
    Path(_FACTS["outcomes"]).write_text(json.dumps(_outcomes))
