"""Checks a folder against its signature in the OpenSSF Model Signing format (v1, key mode).

    statement = read_signature(Path("model.sig").read_bytes(), public_key_pem)     # Raises: SignatureError
    for sentence in problems(Path("model"), statement): ...                        # none: it is what was signed

A signature is a sigstore bundle: a DSSE envelope around an in-toto statement that names every file and its digest.
This module needs `cryptography` and nothing else, so that a device can carry it, and opens only files it found
itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT, _PREDICATE = "https://in-toto.io/Statement/v1", "https://model_signing/signature/v1.0"
# What tools leave beside a model; the format's own tools ignore git's, too. What is signed is checked wherever it lies.
_IGNORED = (".git", ".gitattributes", ".github", ".gitignore", ".cache")
_CURVES: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
_HASHES = frozenset({"sha256", "blake2b"})


class SignatureError(ValueError):
    """The signature is damaged, of another form, or was not made with this key."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What was signed. `notes`: what a Steelyard adds about the version; empty in the signatures of others."""

    files: dict[str, tuple[str, str]]  # by path: how it was hashed, and the digest
    ignored: tuple[str, ...]
    notes: dict[str, Any]


def key_id(public_key: str) -> str:
    """SHA-256 of the PEM, which a bundle names its key by. Raises: SignatureError."""
    pem = _public_key(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def named_key(bundle: bytes) -> str:
    """The id of the key that a bundle says it was made with; bundles of versions before 1.1 name none."""
    try:
        return str(json.loads(bundle)["verificationMaterial"]["publicKey"].get("hint") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SignatureError("This is no signature that was made with a key.") from error


def read_signature(bundle: bytes, public_key: str) -> Statement:
    """What the bundle says was signed, after its signature was checked. Raises: SignatureError."""
    key, named, given = _public_key(public_key), named_key(bundle), key_id(public_key)
    if named not in {"", given}:
        raise SignatureError(f"It was signed with the key {named[:16]}, not with {given[:16]}.")
    try:
        payload, signature = _opened(json.loads(bundle))
        signed = b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)
        key.verify(signature, signed, ec.ECDSA(_CURVES[key.curve.key_size]))
        return _statement(json.loads(payload))
    except SignatureError:
        raise
    except InvalidSignature as error:
        raise SignatureError("It was not made with this key, or was changed since.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SignatureError("The signature is damaged.") from error


def problems(path: Path, statement: Statement, *, ignored: Iterable[str] = ()) -> Iterator[str]:
    """What is wrong with a folder, or with a single file that was signed, in one sentence each."""
    skipped = [PurePosixPath(one) for one in (*_IGNORED, *statement.ignored, *ignored)]
    there = dict(_files_below(path)) if path.is_dir() else {".": path}
    for name in sorted(statement.files.keys() - there.keys()):
        yield f"{name} is missing."
    for name, file in sorted(there.items()):
        if name not in statement.files:
            if not any(PurePosixPath(name).is_relative_to(one) for one in skipped):
                yield f"{name} is not among the files that were signed."
            continue
        algorithm, digest = statement.files[name]
        try:
            if not file.is_file():
                yield f"{name} is not a file."
            elif _hash(file, algorithm) != digest:
                yield f"{name} was changed: its bytes are not those that were signed."
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror or error}."


def _public_key(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise SignatureError("The key is no public key in PEM form.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.key_size not in _CURVES:
        raise SignatureError("The key is on none of the curves P-256, P-384 and P-521.")
    return key


def _opened(content: dict[str, Any]) -> tuple[bytes, bytes]:
    """The payload and its signature."""
    envelope = content["dsseEnvelope"]
    if (content["mediaType"], envelope["payloadType"]) != (_BUNDLE, _PAYLOAD):
        raise SignatureError("The signature is of another form than OpenSSF Model Signing's.")
    (signature,) = envelope["signatures"]
    return base64.b64decode(envelope["payload"]), base64.b64decode(signature["sig"])


def _statement(content: dict[str, Any]) -> Statement:
    if (content["_type"], content["predicateType"]) != (_STATEMENT, _PREDICATE):
        raise SignatureError("The signature says something else than which files a model has.")
    predicate, (subject,) = content["predicate"], content["subject"]
    serialization, resources = predicate["serialization"], predicate["resources"]
    if serialization["method"] != "files":
        raise SignatureError("The files were signed in shards; only whole files are read here.")
    root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    if root != subject["digest"]["sha256"]:
        raise SignatureError("The signature contradicts itself: its files have another digest than its subject.")
    notes = predicate.get("steelyard") or {}
    entries = [*resources, *notes.get("git_files", [])]
    files = {one["name"]: (one["algorithm"], one["digest"].lower()) for one in entries}
    if len(files) != len(entries):
        raise SignatureError("The signature contradicts itself: it names a file twice.")
    if unknown := {algorithm for algorithm, _ in files.values()} - _HASHES:
        raise SignatureError(f"The files were hashed by {', '.join(unknown)}; SHA-256 and BLAKE2b are read here.")
    return Statement(files, tuple(serialization.get("ignore_paths") or ()), notes)


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything but folders. A link to a folder counts as a file: nobody signed what lies behind it."""
    for root, folders, files in os.walk(folder):
        for name in [*files, *(one for one in folders if Path(root, one).is_symlink())]:
            yield Path(root, name).relative_to(folder).as_posix(), Path(root, name)


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
