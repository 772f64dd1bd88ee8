"""Releases on the device's disk: verified, fetched with resume, complete or absent."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import ValidationError

from steelyard.transport import CHUNK, Transport
from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import DigestMismatchError, UnavailableError
from steelyard_contracts.fleet import ReleaseOffer
from steelyard_contracts.manifests import RELEASE_PAYLOAD_TYPE, Envelope, ManifestFile, ReleaseManifest, pae
from steelyard_edge.disk import switch_link, sync_folder

_CURRENT = "current"


class UntrustedReleaseError(DigestMismatchError):
    """The manifest is not signed by the platform that this device enrolled with."""

    code = "untrusted_release"


def verified_manifest(offer: ReleaseOffer, public_key: str) -> ReleaseManifest:
    """The offer's manifest, after its signature and digest were checked. Raises: UntrustedReleaseError."""
    envelope = offer.manifest
    try:
        payload = envelope.payload_bytes()
        _verify(envelope, payload, public_key)
        manifest = ReleaseManifest.model_validate_json(payload)
    except (InvalidSignature, binascii.Error, ValidationError, ValueError) as error:
        raise UntrustedReleaseError("The release's signature is not valid; it was not touched.") from error
    if sha256_of(payload) != offer.digest:
        raise UntrustedReleaseError("The release's digest is not that of its manifest; it was not touched.")
    for file in manifest.files:
        file.checked()
    return manifest


def _verify(envelope: Envelope, payload: bytes, public_key: str) -> None:
    if envelope.payload_type != RELEASE_PAYLOAD_TYPE:
        raise InvalidSignature
    key = load_pem_public_key(public_key.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidSignature
    key.verify(base64.b64decode(envelope.signature), pae(envelope.payload_type, payload), ec.ECDSA(hashes.SHA256()))


class Releases:
    """The folder `releases` and the link `current`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "releases"
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self.folder / digest

    @property
    def current(self) -> Path | None:
        link = self.root / _CURRENT
        return link.resolve() if link.is_symlink() and link.exists() else None

    @property
    def running(self) -> str | None:
        """The digest of what `current` points at."""
        return self.current.name if self.current else None

    def switch(self, digest: str | None) -> None:
        """To a release, or to nothing at all."""
        if digest is None:
            (self.root / _CURRENT).unlink(missing_ok=True)
            sync_folder(self.root)
        else:
            switch_link(self.root / _CURRENT, self.path(digest))

    def prune(self, keep: set[str | None]) -> None:
        """Drops every release but those, and half-fetched ones."""
        for folder in self.folder.iterdir():
            if folder.name not in keep:
                # Out of the way first: a power cut in the middle must not leave half a release under its name.
                doomed = self.folder / f".drop-{folder.name}"
                folder.replace(doomed)
                shutil.rmtree(doomed)

    def fetch(self, transport: Transport, release: UUID, manifest: ReleaseManifest) -> None:
        """Downloads what is missing; a broken download goes on where it stopped.

        Raises: UnavailableError to try again later, DigestMismatchError for wrong bytes.
        """
        target = self.path(manifest.digest)
        if target.exists() and all(_is_whole(target / file.path, file) for file in manifest.files):
            return
        incoming = self.folder / f".{manifest.digest}"
        incoming.mkdir(exist_ok=True)
        for file in manifest.files:
            path = incoming / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _is_whole(path, file):
                _download(transport, f"/api/device/v1/releases/{release}/files/{file.path}", path, file)
        _sync_tree(incoming)
        if target.exists():  # damaged: rename does not replace a folder that holds something
            target.replace(self.folder / f".drop-{secrets.token_hex(4)}")
        incoming.replace(target)
        sync_folder(self.folder)


def _is_whole(path: Path, file: ManifestFile) -> bool:
    return path.exists() and path.stat().st_size == file.size and _sha256(path) == file.sha256


def _download(transport: Transport, address: str, path: Path, file: ManifestFile) -> None:
    part = path.with_name(f"{path.name}.part")
    start = part.stat().st_size if part.exists() else 0
    if start >= file.size:
        part.unlink(missing_ok=True)
        start = 0
    with (
        transport.stream(address, start=start) as (is_partial, chunks),
        part.open("ab" if start else "wb") as out,
    ):
        if start and not is_partial:
            out.truncate(0)
        _write(chunks, out.fileno(), limit=file.size - (start if is_partial else 0))
        os.fsync(out.fileno())
    size = part.stat().st_size
    if size < file.size:
        raise UnavailableError(
            f"The download of {file.path} broke off after {size} of {file.size} bytes; it goes on later."
        )
    if _sha256(part) != file.sha256:
        part.unlink()
        raise DigestMismatchError(
            f"{file.path} does not have the digest its manifest names; it was dropped.", path=file.path
        )
    part.replace(path)


def _write(chunks: Iterator[bytes], descriptor: int, *, limit: int) -> None:
    """Stops with an error at the declared length: a server that sends more fills no disk."""
    written = 0
    for chunk in chunks:
        written += len(chunk)
        if written > limit:
            raise DigestMismatchError("The download is longer than its manifest says; it was dropped.")
        os.write(descriptor, chunk)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_tree(root: Path) -> None:
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        sync_folder(folder)
