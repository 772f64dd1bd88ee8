"""Signing versions: by a light task soon after the commit, or at once for whoever asks before.

The cost is that of the manifest: a file's SHA-256 names its blob, so no byte is read again. Edges of lineage are signed
by the id of the commit at their other end, which names nothing that the reader of a signature may not see.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.db.models import Exists, Max, OuterRef
from django.utils import timezone

from steelyard_contracts.errors import SteelyardError, TooLargeError, UnavailableError
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import PLATFORM, Actor
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Version
from steelyard_platform.weights import keyring
from steelyard_platform.weights.models import LineageEdge, VersionSignature
from steelyard_platform.weights.statements import SignedFile, bundle_of, manifest_digest, message_of, statement_of

# A larger manifest would be tens of megabytes to everybody who fetches it.
MAX_FILES = 100_000
_AT_ONCE = 100
_log = logging.getLogger(__name__)


def signature_of(version: Version) -> VersionSignature:
    """The version's signature, made now if there is none yet, or lineage was recorded since.

    Raises: UnavailableError when whoever holds the key does not sign; TooLargeError.
    """
    found = VersionSignature.objects.filter(version=version).first()
    return found if found is not None and found.lineage == _lineage(version) else _sign(version)


def is_signed(version: Version) -> bool:
    """Whether the version has a signature that is valid, made now if it has to be. Never fails."""
    try:
        return is_valid(signature_of(version))
    except SteelyardError as error:
        _log.warning("%s@%s is not signed: %s", version.repository.full_name, version.label, error)
        return False


def known_signature(version: Version) -> VersionSignature | None:
    """The signature that is there and valid, without its bundle; makes none, and never fails."""
    found = VersionSignature.objects.defer("bundle").filter(version=version).first()
    try:
        return found if found is not None and is_valid(found) else None
    except UnavailableError:
        return None


def is_valid(signature: VersionSignature) -> bool:
    """Whether its key still counts. Raises: UnavailableError."""
    key = keyring.find_key(signature.key_id)
    return key is not None and key.state is not keyring.KeyState.REVOKED


def sign_waiting(*, newest: int | None = None) -> int:
    """Signs versions that nobody asked about. Returns how many; stops while nothing can be signed.

    Args:
        newest: look at the last so many alone, which costs the same however many there are.
    """
    unsigned = Version.objects.filter(~Exists(VersionSignature.objects.filter(version=OuterRef("pk"))))
    unsigned = unsigned.filter(repository__is_trashed=False)
    if newest is not None:
        unsigned = unsigned.filter(pk__gt=(Version.objects.aggregate(last=Max("pk"))["last"] or 0) - newest)
    waiting = unsigned.filter(file_count__lte=MAX_FILES).select_related("branch", "repository__team")
    count = 0
    for version in waiting.order_by("-pk")[:_AT_ONCE]:
        try:
            signature_of(version)
        except SteelyardError as error:
            _log.warning("versions stay unsigned for now: %s", error)
            break
        count += 1
    return count


def files_of(version: Version) -> list[SignedFile]:
    """Every file of the version, by one query. Raises: TooLargeError."""
    if version.file_count > MAX_FILES:
        raise TooLargeError(
            f"{version.repository.full_name}@{version.label} has {version.file_count} files; "
            f"versions of up to {MAX_FILES} can be signed and described.",
            files=version.file_count,
        )
    rows = tree.entries_at(version).values_list("path", "blob__size", "blob__sha256")
    return [SignedFile(path, size, sha256) for path, size, sha256 in rows]


def _sign(version: Version) -> VersionSignature:
    files, lineage = files_of(version), _lineage(version)
    key, now = keyring.current_key(), timezone.now()
    notes = {
        "repository": str(version.repository.ref),
        "version": version.label,
        "commit": version.commit_id,
        "author": version.author_name,
        "committed_at": version.created_at.isoformat(),
        "signed_at": now.isoformat(),
        "lineage": lineage,
    }
    payload = statement_of(version.repository.full_name, files, notes)
    bundle = bundle_of(payload, key.key_id, keyring.sign(message_of(payload), key))
    with transaction.atomic():
        signature, _ = VersionSignature.objects.update_or_create(
            version=version,
            defaults={
                "key_id": key.key_id,
                "digest": manifest_digest(files),
                "bundle": bundle,
                "lineage": lineage,
                "signed_at": now,
            },
        )
        audit.record(PLATFORM, "sign", version.repository.full_name, version=version.label, key=key.key_id)
    return signature


def _lineage(version: Version) -> list[dict[str, Any]]:
    """What the version was made from and measured on, by commit ids; `declared` by its card, or recorded by a job."""
    edges = LineageEdge.objects.filter(target=version).order_by("relation", "source__commit_id")
    return [
        {"relation": str(relation), "commit": commit, "declared": declared}
        for relation, commit, declared in edges.values_list("relation", "source__commit_id", "declared")
    ]


# --- keys --------------------------------------------------------------------------------------


def create_key(*, actor: Actor) -> keyring.SigningKey:
    """Raises: as `keyring.create_key`."""
    key = keyring.create_key()
    audit.record(actor, "create signing key", "installation", key=key.key_id)
    return key


def rotate_key(*, actor: Actor) -> keyring.SigningKey:
    """Raises: as `keyring.rotate`."""
    key = keyring.rotate()
    audit.record(actor, "rotate signing key", "installation", key=key.key_id)
    return key


@transaction.atomic
def revoke_key(*, key_id: str, reason: str, actor: Actor) -> keyring.SigningKey:
    """What the key signed is signed anew by the light task. Raises: as `keyring.revoke`."""
    key = keyring.revoke(key_id, reason)
    VersionSignature.objects.filter(key_id=key.key_id).delete()
    audit.record(actor, "revoke signing key", "installation", key=key.key_id, reason=reason)
    return key
