"""Every setting an operator can make, read once, from environment variables named `STEELYARD_…`.

With nothing set, Steelyard runs embedded: SQLite, a folder for objects and a folder as broker, all under
`var/`. `docs/settings.md` explains each one; a test holds the two together.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[3]
_LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"]


class Environment(BaseSettings):
    """The settings, typed. Raises pydantic's ValidationError at start when one cannot be meant."""

    model_config = SettingsConfigDict(env_prefix="STEELYARD_", extra="ignore")

    var: Path = Field(
        ROOT / "var",
        validation_alias=AliasChoices("STEELYARD_VAR", "VAR"),
        description="Folder for everything the installation writes.",
    )
    debug: bool = Field(default=False, description="Django's debug pages; never on a server others can reach.")
    secret_key: str = Field("", description="Signs sessions and addresses; made and kept under var/keys when empty.")
    public_url: str = Field("", description="The address clients use, when a proxy stands in front.")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=lambda: [*_LOCAL_NAMES, socket.gethostname()],
        description="Host names this installation answers to, divided by commas.",
    )
    bind: str = Field("127.0.0.1", description="Address the web process listens on.")
    web_processes: int = Field(2, ge=1, le=64, description="Web processes to start.")
    web_threads: int = Field(8, ge=1, le=256, description="Threads in each web process.")
    web_watchers: int = Field(
        16, ge=0, le=1024, description="Live streams that each web process serves, each in a further thread."
    )

    database_url: str = Field(
        "", description="postgresql://user:password@host:port/name; SQLite under var/ when empty."
    )
    broker_url: str = Field("", description="redis://… or amqp://…; a folder under var/ when empty.")

    s3_bucket: str = Field("", description="Bucket for objects; a folder under var/ when empty.")
    s3_endpoint: str = Field("", description="Address of an S3-compatible server; AWS when empty.")
    s3_public_endpoint: str = Field("", description="The same server's address as clients see it, if another.")
    s3_region: str = Field("us-east-1", description="Region that requests are signed for.")
    s3_access_key: str = Field("", description="Access key; boto3's own sources when empty.")
    s3_secret_key: str = Field("", description="Secret key that goes with it.")

    default_visibility: Literal["private", "public"] = Field(
        "private", description="Visibility of a repository whose creator asked for none."
    )
    dedup_scope: Literal["namespace", "installation"] = Field(
        "namespace", description="Whose chunks an upload may build on: those of its own namespace, or everybody's."
    )
    hub_first_commit: bool = Field(
        default=False,
        description="Whether a repository made through the Hub's API begins with a first commit of .gitattributes.",
    )
    webhooks_to_private_addresses: bool = Field(
        default=False,
        description="Whether a webhook may lead to a private or local address, such as a team's own server.",
    )
    downloads_wait_for_scan: bool = Field(
        default=False,
        description="Whether a version goes out only when every file of it was scanned; else until a danger shows.",
    )
    # Clients refer for three weeks, without asking, to what they have sent.
    garbage_grace_hours: int = Field(
        672, ge=1, le=8760, description="How long what no version holds is kept before it is collected."
    )
    trash_days: int = Field(
        30, ge=0, le=3650, description="How long what was deleted stays in the trash, from where it can be restored."
    )
    lease_seconds: int = Field(60, ge=2, le=3600, description="A worker silent for this long has lost its job.")
    max_attempts: int = Field(3, ge=1, le=20, description="How often a job is started before it counts as lost.")
    retry_pause_seconds: float = Field(
        10, ge=0, le=600, description="How long a failed job waits for its second attempt; the wait doubles each time."
    )
    checkpoint_days: int = Field(
        7, ge=0, le=3650, description="How long a job that ended without success can be resumed from its checkpoint."
    )
    run_metric_names: int = Field(
        10_000, ge=1, le=1_000_000, description="How many metric names of a run that trains elsewhere are kept."
    )
    run_log_megabytes: int = Field(
        20, ge=0, le=10_000, description="How much is kept of the output of a run that trains elsewhere."
    )
    device_poll_seconds: float = Field(15, gt=0, le=86_400, description="How often devices ask for news.")
    signed_url_seconds: int = Field(3600, ge=60, le=604_800, description="How long a signed address stays valid.")

    prices: Annotated[dict[str, float], NoDecode] = Field(
        default_factory=dict,
        description="What an hour on a machine costs, by its label: cpu=0.05,gpu=1.20,gpu:a100=3.50.",
    )
    currency: str = Field("USD", max_length=8, description="What prices are in.")

    signing_backend: str = Field(
        "", description="Dotted path of a class that holds the signing key, such as a KMS's; a file when empty."
    )
    signing_command: str = Field("", description="The program that `CommandSigner`, one such class, signs with.")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _divide(cls, value: Any) -> Any:
        return [host.strip() for host in value.split(",") if host.strip()] if isinstance(value, str) else value

    @field_validator("prices", mode="before")
    @classmethod
    def _priced(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = [part.rpartition("=") for part in value.split(",") if part.strip()]
        if any(not label.strip() for label, _, _ in parts):
            raise ValueError("STEELYARD_PRICES must be labels and prices, such as cpu=0.05,gpu:a100=3.50")
        return {label.strip(): price.strip() for label, _, price in parts}

    @field_validator("var")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.resolve()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"postgresql", "postgres"}:
            raise ValueError("STEELYARD_DATABASE_URL must begin with postgresql://; leave it empty for SQLite")
        return value

    @property
    def keys(self) -> Path:
        return self.var / "keys"

    @property
    def broker_folder(self) -> Path:
        return self.var / "broker"

    def secret(self) -> str:
        """The signing secret: as configured, or made on the first start and kept readable by its owner alone."""
        if self.secret_key:
            return self.secret_key
        path = self.keys / "secret.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = path.with_suffix(f".{secrets.token_hex(8)}")
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_urlsafe(48))
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)  # the first process wins; all read the same secret afterwards
            temporary.unlink()
        return path.read_text()

    def database(self) -> dict[str, Any]:
        """Django's description of the one database."""
        if not self.database_url:
            self.var.mkdir(parents=True, exist_ok=True)
            return _sqlite(self.var / "steelyard.sqlite3")
        parts = urlsplit(self.database_url)
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.lstrip("/"),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": 300,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": dict(parse_qsl(parts.query)),
        }


def _sqlite(path: Path) -> dict[str, Any]:
    """WAL and immediate transactions: eight processes write without one "database is locked"."""
    pragmas = (
        "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA cache_size=-65536;"
        "PRAGMA temp_store=MEMORY;PRAGMA journal_size_limit=67108864;"
    )
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": 300,
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": pragmas},
    }
