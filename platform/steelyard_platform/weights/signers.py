"""Whoever holds a private half: a file of this installation, or a backend such as a KMS.

A backend is a class that `STEELYARD_SIGNING_BACKEND` names; it is made without arguments and does what `Signer` says.
`CommandSigner` is one, for a KMS that comes with a command of its own.
"""

from __future__ import annotations

import base64
import binascii
import shlex
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from django.conf import settings
from django.utils.module_loading import import_string

from steelyard_contracts.errors import InvalidInputError, UnavailableError

DIGEST = ec.ECDSA(Prehashed(hashes.SHA256()))
_SECONDS = 30


class Signer(Protocol):
    """A P-256 key that signs and never shows itself."""

    def public_key(self) -> str:
        """PEM. Raises: UnavailableError."""

    def sign(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest of 32 bytes, in DER. Raises: UnavailableError."""


class FileSigner:
    """A private key in PEM form, unencrypted, in a file that its owner alone can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def public_key(self) -> str:
        return pem_of(self._key().public_key())

    def sign(self, digest: bytes) -> bytes:
        return self._key().sign(digest, DIGEST)

    def _key(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = load_pem_private_key(self._path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise UnavailableError(f"The signing key {self._path.name} cannot be read; put it back.") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise UnavailableError(f"The signing key {self._path.name} is no elliptic curve key.")
        return key


class CommandSigner:
    """A program that holds the key: `COMMAND public-key` prints the PEM, `COMMAND sign HEX` the signature in base64."""

    def public_key(self) -> str:
        return self._run("public-key")

    def sign(self, digest: bytes) -> bytes:
        try:
            return base64.b64decode(self._run("sign", digest.hex()), validate=True)
        except binascii.Error as error:
            raise UnavailableError("STEELYARD_SIGNING_COMMAND did not print a signature in base64.") from error

    def _run(self, *arguments: str) -> str:
        command = shlex.split(settings.ENVIRONMENT.signing_command)
        if not command:
            raise UnavailableError("STEELYARD_SIGNING_COMMAND is empty; name the program that signs.")
        try:
            done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"STEELYARD_SIGNING_COMMAND did not sign: {error}.") from error
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise UnavailableError(f"STEELYARD_SIGNING_COMMAND did not sign: {said[-1] if said else done.returncode}.")
        return done.stdout.strip()


def backend() -> Signer | None:
    """The configured one; None where keys are files. Raises: UnavailableError."""
    name = settings.ENVIRONMENT.signing_backend
    return _made(name) if name else None


@lru_cache(maxsize=1)
def _made(name: str) -> Signer:
    try:
        signer: Signer = import_string(name)()
    except ImportError as error:
        raise UnavailableError(f"STEELYARD_SIGNING_BACKEND names {name}, which cannot be loaded: {error}.") from error
    return signer


def make_key_file(path: Path) -> None:
    """A new private key; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    temporary.replace(path)


def pem_of(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def checked_public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """Raises: InvalidInputError unless it is a P-256 key in PEM form."""
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise InvalidInputError("The signing backend's public key is not in PEM form.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInputError("The signing backend's key is not on the curve P-256, which devices expect.")
    return key
