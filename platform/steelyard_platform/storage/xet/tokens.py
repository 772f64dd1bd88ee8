"""Tokens of the store: signed, short-lived, for one repository and one right. Nothing is kept of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.core import signing
from django.utils.crypto import salted_hmac

from steelyard_contracts.errors import AuthenticationError, ForbiddenError, TokenExpiredError

SECONDS = 15 * 60
NO_VERSION = 0
_SALT = "steelyard.xet.2"  # the number goes up with the shape of the claims
_SCOPE_SALT = "steelyard.xet.scope"
_SCOPE_LENGTH = 16


class Right(StrEnum):
    READ = "read"
    WRITE = "write"  # which includes reading


@dataclass(frozen=True, slots=True)
class Access:
    team_id: int
    repository_id: UUID
    right: Right
    version_id: int = NO_VERSION  # what it was asked for, where it is for reading
    inspects: bool = False  # whether also what is dangerous may be read


def scope_of(team_id: int) -> str:
    """The part of the store's address that is a namespace's own.

    Clients remember for weeks, by address, what a server has, and refer to it without asking. Each namespace of each
    installation has another address, so that nobody refers to what another namespace has sent, or a server that was
    there before.
    """
    return salted_hmac(_SCOPE_SALT, str(team_id)).hexdigest()[:_SCOPE_LENGTH]


def issue(access: Access) -> tuple[str, int]:
    """(token, when it expires as Unix time)."""
    expires = int(time.time()) + SECONDS
    reading = [access.version_id, access.inspects]
    claims = [access.team_id, access.repository_id.hex, access.right.value, expires, *reading]
    return signing.dumps(claims, salt=_SALT), expires


def check(token: str, right: Right, scope: str | None) -> Access:
    """`scope`: the part of the store that is asked; None for what is asked of no part.

    Raises: AuthenticationError, TokenExpiredError, ForbiddenError.
    """
    try:
        team_id, repository, granted, expires, version_id, inspects = signing.loads(token, salt=_SALT)
    except signing.BadSignature as error:
        raise AuthenticationError("The token is missing or not valid for the store; ask the hub for one.") from error
    if expires < time.time():
        raise TokenExpiredError("The store's token has expired; ask the hub for a new one.")
    if scope is not None and scope != scope_of(team_id):
        raise ForbiddenError("This token is for another namespace's part of the store; ask the hub for one.")
    if right is Right.WRITE and granted != Right.WRITE:
        raise ForbiddenError("This token may read, not write; ask the hub for a write token.")
    return Access(team_id, UUID(repository), Right(granted), version_id, inspects)
