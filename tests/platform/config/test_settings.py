"""Settings: documented, typed, and loud when they cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from steelyard_platform.config.environment import Environment

DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


@pytest.mark.parametrize("name", list(Environment.model_fields))
def test_every_setting_is_documented(name):
    assert f"`STEELYARD_{name.upper()}`" in DOCUMENT.read_text()


def test_nothing_is_documented_that_is_no_setting():
    import re

    platforms = DOCUMENT.read_text().partition("## Workers")[0]
    documented = set(re.findall(r"^\| `STEELYARD_([A-Z0-9_]+)`", platforms, re.MULTILINE))
    assert documented == {name.upper() for name in Environment.model_fields}


@pytest.mark.parametrize(
    ("name", "value"),
    [("STEELYARD_LEASE_SECONDS", "0"), ("STEELYARD_DATABASE_URL", "mysql://x"), ("STEELYARD_WEB_THREADS", "many")],
)
def test_a_setting_that_cannot_be_meant_stops_the_start(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Environment()


def test_a_database_address_is_read_whole(monkeypatch):
    monkeypatch.setenv("STEELYARD_DATABASE_URL", "postgresql://me:s%40cret@db:6543/hub?sslmode=require")
    found = Environment().database()
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("me", "s@cret", "db", "6543")
    assert (found["NAME"], found["OPTIONS"]) == ("hub", {"sslmode": "require"})


def test_the_signing_secret_is_made_once_and_kept_private(monkeypatch, tmp_path):
    monkeypatch.setenv("STEELYARD_VAR", str(tmp_path))
    first = Environment().secret()
    assert Environment().secret() == first
    assert (tmp_path / "keys" / "secret.key").stat().st_mode & 0o077 == 0


def test_the_compose_file_names_real_settings_and_holds_no_secret():
    import re

    import yaml

    text = (DOCUMENT.parents[1] / "docker-compose.yml").read_text()
    composed = yaml.safe_load(text)
    assert {"web", "light", "beat", "compute", "db", "queue", "s3"} <= composed["services"].keys()
    named = set(re.findall(r"^    STEELYARD_([A-Z0-9_]+):", text, re.MULTILINE))
    assert named <= {name.upper() for name in Environment.model_fields}
    secrets = re.findall(r"^\s+\w*(?:SECRET_KEY|PASSWORD|TOKEN)\w*: (.*)$", text, re.MULTILINE)
    assert secrets
    assert all(value.startswith("${") for value in secrets)
