"""Where the SDK finds its server and token: the environment first, then what `steelyard login` kept."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from steelyard_contracts.errors import AuthenticationError

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Credentials:
    url: str
    token: str


def credentials_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")  # noqa: TID251 - the SDK's one place for settings
    return Path(base or Path.home() / ".config") / "steelyard" / "credentials.json"


def find_credentials(url: str | None = None) -> Credentials:
    """For `url`, or the server that the environment or the last login names. A token goes only where it belongs.

    Raises: AuthenticationError when there is no token for it anywhere.
    """
    kept, named = _kept(), os.environ.get("STEELYARD_URL", "").rstrip("/")  # noqa: TID251 - as above
    wanted = (url or named or (kept.url if kept else DEFAULT_URL)).rstrip("/")
    token = os.environ.get("STEELYARD_TOKEN") if wanted == (named or wanted) else None  # noqa: TID251 - as above
    if not token and kept and kept.url == wanted:
        token = kept.token
    if not token:
        raise AuthenticationError(f"No token for {wanted}. Run `steelyard login`, or set STEELYARD_TOKEN.")
    return Credentials(wanted, token)


def is_offline() -> bool:
    """Whether runs are only written to their folders: `STEELYARD_OFFLINE=1`."""
    said = os.environ.get("STEELYARD_OFFLINE", "")  # noqa: TID251 - as above
    return said.lower() not in {"", "0", "no", "false"}


def server_url() -> str:
    """Where runs belong that are written without a token; empty where nothing says it."""
    named = os.environ.get("STEELYARD_URL", "").rstrip("/")  # noqa: TID251 - as above
    if named:
        return named
    kept = _kept()
    return kept.url if kept else ""


def runs_folder() -> Path:
    """Where runs keep what is not yet sent: `STEELYARD_RUNS_FOLDER`, or `steelyard-runs` where the program runs."""
    return Path(os.environ.get("STEELYARD_RUNS_FOLDER") or "steelyard-runs")  # noqa: TID251 - as above


def spool_bytes() -> int:
    """How much of a run may wait to be sent: `STEELYARD_SPOOL_MEGABYTES`."""
    said = os.environ.get("STEELYARD_SPOOL_MEGABYTES", "")  # noqa: TID251 - as above
    return (int(said) if said.isdigit() else 4096) * 1_000_000


def keep_credentials(credentials: Credentials) -> Path:
    """Writes them for the user alone, whole or not at all."""
    path = credentials_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps({"url": credentials.url, "token": credentials.token}))
    temporary.replace(path)
    return path


def _kept() -> Credentials | None:
    path = credentials_file()
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        return Credentials(found["url"], found["token"])
    except (ValueError, KeyError, TypeError) as error:
        raise AuthenticationError(f"{path} is damaged; run `steelyard login` again.") from error
