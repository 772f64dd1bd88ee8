"""What the installation's keys sign for devices: release manifests, as DSSE envelopes (ECDSA P-256, SHA-256).

A device pins the public key when it enrols, so releases are signed with the oldest key that was not revoked, whatever
key signs versions by now. When that one is revoked, the next is in its place, and devices that trusted it enrol again.
"""

from __future__ import annotations

import base64

from steelyard_contracts.manifests import RELEASE_PAYLOAD_TYPE, Envelope, ReleaseManifest, pae
from steelyard_platform.weights import keyring


def sign_manifest(manifest: ReleaseManifest) -> Envelope:
    """Raises: UnavailableError when whoever holds the key does not sign."""
    key, payload = keyring.pinned_key(), manifest.payload()
    signature = keyring.sign(pae(RELEASE_PAYLOAD_TYPE, payload), key)
    return Envelope(
        payload=base64.b64encode(payload).decode(),
        key_id=key.key_id,
        signature=base64.b64encode(signature).decode(),
    )


def trusted_envelope(envelope: Envelope) -> Envelope:
    """The envelope, signed anew if its key was revoked since. Raises: UnavailableError."""
    if envelope.key_id == keyring.pinned_key().key_id:
        return envelope
    return sign_manifest(ReleaseManifest.model_validate_json(envelope.payload_bytes()))


def public_key_pem() -> str:
    """What a device pins. Raises: UnavailableError."""
    return keyring.pinned_key().public_key
