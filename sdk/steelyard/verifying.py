"""A folder against its signature, with a server's published keys: which of them counts, and what it vouches for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from steelyard.model_signature import SignatureError, Statement, key_id, named_key, problems, read_signature


class PublishedKey(BaseModel):
    """A public key and its history. A key that somebody was handed has none: whoever handed it over answers for it."""

    kid: str
    pem: str
    state: str = ""
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    revoked_at: datetime | None = None
    reason: str = ""

    @classmethod
    def of(cls, pem: str) -> PublishedKey:
        """Raises: SignatureError."""
        return cls(kid=key_id(pem), pem=pem)


def trusted_statement(bundle: bytes, keys: Sequence[PublishedKey]) -> Statement:
    """What the bundle says was signed, by one of these keys while it counted. Raises: SignatureError."""
    named = named_key(bundle)
    fitting = [key for key in keys if named in {"", key.kid}]
    if not fitting:
        known = ", ".join(key.kid[:16] for key in keys) or "none"
        raise SignatureError(f"It was signed with the key {named[:16]}, which is not among the trusted ones ({known}).")
    for key in fitting:  # signatures of old versions name no key
        try:
            statement = read_signature(bundle, key.pem)
        except SignatureError:
            if key is fitting[-1]:
                raise
        else:
            _check_history(key, statement)
            return statement
    raise AssertionError  # the last one returned or raised


def faults_of(path: Path, statement: Statement, *, ignored: Iterable[Path] = ()) -> list[str]:
    """As `problems`; what is ignored may be named by any path that leads into the folder."""
    root = path.resolve()
    inside = (one.resolve() for one in ignored)
    names = [one.relative_to(root).as_posix() for one in inside if one != root and one.is_relative_to(root)]
    return list(problems(path, statement, ignored=names))


def _check_history(key: PublishedKey, statement: Statement) -> None:
    if key.revoked_at is not None:
        why = f": {key.reason}" if key.reason else ""
        raise SignatureError(f"The key {key.kid[:16]} was revoked on {key.revoked_at:%Y-%m-%d}{why}.")
    said = statement.notes.get("signed_at")
    if key.valid_from is None or said is None:
        return
    at = datetime.fromisoformat(str(said))
    if at < key.valid_from or (key.valid_until is not None and at > key.valid_until):
        raise SignatureError(
            f"It says it was signed on {at:%Y-%m-%d %H:%M}, when the key {key.kid[:16]} was not in use."
        )
