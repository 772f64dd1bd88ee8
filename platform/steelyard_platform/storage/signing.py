"""Addresses that are their own credential: HMAC-signed, for one method on one object, until a moment.

/objects/staging/1/ab…?expires=1790000000&method=PUT&signature=…
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urlencode

from django.core.signing import Signer
from django.utils.crypto import constant_time_compare

from steelyard_contracts.errors import ForbiddenError

_SIGNER = "steelyard.objects"


def sign_address(method: str, key: str, seconds: int, **extra: str) -> str:
    """A site-relative address. `extra` becomes part of what is signed."""
    claims = {"method": method, "expires": str(int(time.time()) + seconds), **extra}
    return f"/objects/{key}?{urlencode({**claims, 'signature': _signature(key, claims)})}"


def check_address(method: str, key: str, query: Mapping[str, str]) -> dict[str, str]:
    """The signed claims. Raises: ForbiddenError."""
    claims = {name: value for name, value in query.items() if name != "signature"}
    if not constant_time_compare(_signature(key, claims), query.get("signature", "")) or claims.get("method") != method:
        raise ForbiddenError("This address's signature is not valid for this request.")
    if int(claims["expires"]) < time.time():
        raise ForbiddenError("This address has expired; ask for a new one.")
    return claims


def _signature(key: str, claims: Mapping[str, str]) -> str:
    return Signer(salt=_SIGNER).signature(urlencode([("key", key), *sorted(claims.items())]))
