"""A pytest plugin that points the Hub client's own test suite at a Steelyard. `__main__` runs it.

It is loaded before anything of the suite is, and takes a JSON file's word for where the server is and who may speak:

    STEELYARD_CONFORMANCE=facts.json pytest -p against_steelyard tests/test_commit_api.py
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

NEEDS_PRODUCTION = "needs the production Hub"
_FACTS = json.loads(Path(os.environ["STEELYARD_CONFORMANCE"]).read_text())
_outcomes: dict[str, dict[str, str]] = {}


def _point_client_at(endpoint: str) -> None:
    """Before the client is imported: it reads its environment once."""
    os.environ["HF_ENDPOINT"] = endpoint
    for name in ("HUGGINGFACE_CO_STAGING", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        os.environ.pop(name, None)
    from huggingface_hub import constants, hf_api
    from huggingface_hub.utils import _http

    constants._HF_DEFAULT_STAGING_ENDPOINT = endpoint
    # The suite's snapshot is of an older client. It asks for a library and a function by the names they had.
    if hasattr(_http, "httpx2"):
        sys.modules["httpx"] = _http.httpx2
    else:
        _ask_here_about_cards(_http, endpoint)
    if not hasattr(hf_api, "repo_type_and_id_from_hf_id"):
        vars(hf_api)["repo_type_and_id_from_hf_id"] = None


def _ask_here_about_cards(http: Any, endpoint: str) -> None:
    """Client 1.x asks the public Hub whether a card is right, whatever its endpoint is."""

    def turn(request: Any) -> None:
        if request.url.host == "huggingface.co" and request.url.path == "/api/validate-yaml":
            request.url = type(request.url)(f"{endpoint}/api/validate-yaml")
            request.headers["Host"] = request.url.netloc.decode()

    def client() -> Any:
        made = http.default_client_factory()
        made.event_hooks = {**made.event_hooks, "request": [*made.event_hooks["request"], turn]}
        return made

    http.set_client_factory(client)


def _introduce(facts: dict[str, Any]) -> None:
    """The suite's people, as this server knows them."""
    sys.path.insert(0, facts["suite"])
    constants = importlib.import_module("tests.testing_constants")  # the suite's own `tests`
    vars(constants).update(facts["constants"])


_point_client_at(_FACTS["endpoint"])
_introduce(_FACTS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("production") or "api_prod" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=NEEDS_PRODUCTION))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The worst of a test's three phases is what it came to."""
    if report.when != "call" and report.passed:
        return
    before = _outcomes.get(report.nodeid, {}).get("outcome")
    if before != "failed":
        why = str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else ""
        _outcomes[report.nodeid] = {"outcome": report.outcome, "why": why}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _outcomes[report.nodeid] = {"outcome": "failed", "why": "could not be collected"}


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        Path(_FACTS["outcomes"]).write_text(json.dumps(_outcomes))
