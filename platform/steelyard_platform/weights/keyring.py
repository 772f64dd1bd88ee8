"""The installation's signing keys, outside the database: who signed from when until when, and what still counts.

    keys/signing-keys.json      every public key there ever was, oldest first
    keys/release.pem, ….pem     the private halves that are files; see `signers` for those that are not

    current ──rotate──> retired      what it signed stays valid
        └──────revoke──────┴──> revoked      nothing that it signed is valid; its file is deleted

Version signatures are made with the current key. Releases are signed with the oldest one that was not revoked, because
a device pins it when it enrols. Processes read the register anew each time, so that a rotation reaches all of them.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from django.conf import settings
from django.utils import timezone
from pydantic import BaseModel, ValidationError

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import AlreadyExistsError, ConflictError, NotFoundError, UnavailableError
from steelyard_platform.weights.signers import (
    DIGEST,
    FileSigner,
    Signer,
    backend,
    checked_public_key,
    make_key_file,
    pem_of,
)

REGISTER_FILE = "signing-keys.json"
FIRST_KEY_FILE = "release.pem"


class KeyState(StrEnum):
    CURRENT = "current"
    RETIRED = "retired"
    REVOKED = "revoked"


class SigningKey(BaseModel):
    """A key's public half and its history. `file`: of the private half; empty when the backend holds it."""

    key_id: str
    public_key: str
    file: str
    valid_from: datetime
    valid_until: datetime | None = None
    revoked_at: datetime | None = None
    reason: str = ""

    @property
    def state(self) -> KeyState:
        if self.revoked_at:
            return KeyState.REVOKED
        return KeyState.RETIRED if self.valid_until else KeyState.CURRENT


class _Register(BaseModel):
    keys: list[SigningKey] = []

    def current(self) -> SigningKey | None:
        return next((key for key in self.keys if key.state is KeyState.CURRENT), None)


def all_keys() -> list[SigningKey]:
    """Oldest first; the first one is made when there is none yet. Raises: UnavailableError."""
    return (_read() or _begun()).keys


def current_key() -> SigningKey:
    """Raises: UnavailableError."""
    key = _Register(keys=all_keys()).current()
    if key is None:
        raise UnavailableError("No signing key is in use; make one: manage.py signing_key rotate.")
    return key


def pinned_key() -> SigningKey:
    """What devices pin, and releases are signed with. Raises: UnavailableError."""
    return next((key for key in all_keys() if key.state is not KeyState.REVOKED), None) or current_key()


def find_key(key_id: str) -> SigningKey | None:
    return next((key for key in all_keys() if key.key_id == key_id), None)


def sign(message: bytes, key: SigningKey) -> bytes:
    """ECDSA over SHA-256, in DER. Raises: UnavailableError when whoever holds the key does not sign with it."""
    digest = hashlib.sha256(message).digest()
    signature = _signer_of(key).sign(digest)
    try:
        checked_public_key(key.public_key).verify(signature, digest, DIGEST)
    except InvalidSignature as error:
        raise UnavailableError(
            f"The private half of the key {key.key_id[:16]} is another one now. If that was meant, "
            "run manage.py signing_key rotate."
        ) from error
    return signature


def create_key() -> SigningKey:
    """The first key. Raises: AlreadyExistsError, UnavailableError, InvalidInputError."""
    with _locked():
        register = _read() or _Register()
        if register.keys:
            raise AlreadyExistsError("There is a signing key already; replace it: manage.py signing_key rotate.")
        return _add(register)


def rotate() -> SigningKey:
    """A new key signs from now on, the backend's where there is one; the former one's signatures stay valid.

    Raises: ConflictError when the backend still holds the same key; UnavailableError, InvalidInputError.
    """
    with _locked():
        return _add(_read() or _Register())


def revoke(key_id: str, reason: str) -> SigningKey:
    """Nothing that the key signed is valid any more. A key in use is replaced first.

    Raises: NotFoundError; ConflictError for one that was revoked already, or whose replacement the backend lacks.
    """
    with _locked():
        register = _read() or _Register()
        found = [key for key in register.keys if key_id and key.key_id.startswith(key_id)]
        if len(found) != 1:
            raise NotFoundError(
                f"{len(found) or 'No'} signing keys begin with {key_id!r}; see manage.py signing_key list."
            )
        (key,) = found
        if key.revoked_at:
            raise ConflictError(f"The key {key.key_id[:16]} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} already.")
        if key.state is KeyState.CURRENT:
            _add(register)
        key.revoked_at, key.reason = timezone.now(), reason
        _write(register)
        if key.file:
            (_folder() / key.file).unlink(missing_ok=True)
        return key


def public_document() -> dict[str, Any]:
    """A JSON Web Key Set (RFC 7517), with each key's PEM and history beside the standard's members."""
    return {"keys": [_public(key) for key in all_keys()]}


def _public(key: SigningKey) -> dict[str, Any]:
    numbers = checked_public_key(key.public_key).public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": _base64url(numbers.x),
        "y": _base64url(numbers.y),
        "use": "sig",
        "alg": "ES256",
        "kid": key.key_id,
        "pem": key.public_key,
        "state": key.state,
        **key.model_dump(mode="json", include={"valid_from", "valid_until", "revoked_at", "reason"}),
    }


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def _signer_of(key: SigningKey) -> Signer:
    if key.file:
        return FileSigner(_folder() / key.file)
    held = backend()
    if held is None:
        raise UnavailableError(
            f"The key {key.key_id[:16]} is held by a backend, and STEELYARD_SIGNING_BACKEND names none."
        )
    return held


def _begun() -> _Register:
    with _locked():
        register = _read() or _Register()
        if not register.keys:  # another process may have been first
            _add(register)
        return register


def _add(register: _Register) -> SigningKey:
    """A new current key, in place of the former one. The caller holds the lock."""
    held, now, file = backend(), timezone.now(), ""
    if held is not None:
        public = pem_of(checked_public_key(held.public_key()))
    else:
        file = f"signing-{now:%Y%m%d%H%M%S%f}.pem" if register.keys else FIRST_KEY_FILE
        # Installations from before there was a register have their first key already.
        if not (_folder() / file).exists():
            make_key_file(_folder() / file)
        public = FileSigner(_folder() / file).public_key()
    key = SigningKey(key_id=sha256_of(public.encode()), public_key=public, file=file, valid_from=now)
    if any(known.key_id == key.key_id for known in register.keys):
        raise ConflictError("The signing backend still holds the same key; make it hold a new one, then rotate.")
    if (former := register.current()) is not None:
        former.valid_until = now
    register.keys.append(key)
    _write(register)
    return key


def _folder() -> Path:
    folder: Path = settings.ENVIRONMENT.keys
    return folder


def _read() -> _Register | None:
    path = _folder() / REGISTER_FILE
    try:
        return _Register.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise UnavailableError(f"{path} cannot be read; restore it from a backup.") from error


def _write(register: _Register) -> None:
    path = _folder() / REGISTER_FILE
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        file.write(register.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def _locked() -> Iterator[None]:
    """One process at a time makes or changes keys."""
    _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    with (_folder() / f"{REGISTER_FILE}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
