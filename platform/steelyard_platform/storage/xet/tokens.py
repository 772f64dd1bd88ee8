"""Tokens of the store: signed, short-lived, for one repository and one right. Nothing is kept of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.core import signing

from steelyard_contracts.errors import AuthenticationError, ForbiddenError, TokenExpiredError

SECONDS = 15 * 60
_SALT = "steelyard.xet"


class Right(StrEnum):
    READ = "read"
    WRITE = "write"  # which includes reading


@dataclass(frozen=True, slots=True)
class Access:
    team_id: int
    repository_id: UUID
    right: Right


def issue(access: Access) -> tuple[str, int]:
    """(token, when it expires as Unix time)."""
    expires = int(time.time()) + SECONDS
    claims = [access.team_id, access.repository_id.hex, access.right.value, expires]
    return signing.dumps(claims, salt=_SALT), expires


def check(token: str, right: Right) -> Access:
    """Raises: AuthenticationError, TokenExpiredError, ForbiddenError."""
    try:
        team_id, repository, granted, expires = signing.loads(token, salt=_SALT)
    except signing.BadSignature as error:
        raise AuthenticationError("The token is missing or not valid for the store; ask the hub for one.") from error
    if expires < time.time():
        raise TokenExpiredError("The store's token has expired; ask the hub for a new one.")
    if right is Right.WRITE and granted != Right.WRITE:
        raise ForbiddenError("This token may read, not write; ask the hub for a write token.")
    return Access(team_id, UUID(repository), Right(granted))
