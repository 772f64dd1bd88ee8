"""The installation's key and what it signs: release manifests, as DSSE envelopes (ECDSA P-256, SHA-256).

The private key lies in a file of its own, outside the database, readable by its owner alone. A device pins the
public key when it enrols.
"""

from __future__ import annotations

import base64
import secrets
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.manifests import RELEASE_PAYLOAD_TYPE, Envelope, ReleaseManifest, pae

KEY_FILE = "release.pem"


def sign_manifest(manifest: ReleaseManifest) -> Envelope:
    payload = manifest.payload()
    signature = _private_key().sign(pae(RELEASE_PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
    return Envelope(
        payload=base64.b64encode(payload).decode(),
        key_id=key_id(),
        signature=base64.b64encode(signature).decode(),
    )


def public_key_pem() -> str:
    pem = _private_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def key_id() -> str:
    """SHA-256 of the public key's PEM."""
    return sha256_of(public_key_pem().encode())


def ensure_key() -> None:
    """Makes the key on an installation's first start, before several processes could."""
    _private_key()


@lru_cache(maxsize=1)
def _private_key() -> ec.EllipticCurvePrivateKey:
    path: Path = settings.ENVIRONMENT.keys / KEY_FILE
    if not path.exists():
        _make_key(path)
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - `_make_key` makes no other
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    temporary = path.with_suffix(f".{secrets.token_hex(8)}")
    temporary.touch(mode=0o600)
    temporary.write_bytes(pem)
    with suppress(FileExistsError):
        path.hardlink_to(temporary)  # the first process wins; all read the same key afterwards
    temporary.unlink()
