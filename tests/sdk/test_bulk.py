"""Large requests go through the proxy that the environment names, and fail as one class of error."""

from __future__ import annotations

import pytest

from steelyard import bulk
from steelyard.bulk import BulkClient
from steelyard_contracts.errors import UnavailableError


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_proxy_is_the_environments(monkeypatch):
    assert bulk._proxy_for("http://hub.test/x") is None
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "near.test,127.0.0.1")
    assert bulk._proxy_for("http://hub.test/x") == "http://proxy.test:3128"
    assert bulk._proxy_for("http://near.test/x") is None
    assert bulk._proxy_for("http://127.0.0.1:8000/x") is None


def test_what_cannot_be_reached_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setenv("http_proxy", "gopher://proxy.test")
    with (
        pytest.raises(UnavailableError, match="hub.test cannot be reached"),
        BulkClient().open("GET", "http://hub.test/x", headers={}),
    ):
        pass
