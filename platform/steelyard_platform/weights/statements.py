"""What is signed of a version, in the OpenSSF Model Signing format v1. Pure.

    payload = statement_of(name, files, notes)        an in-toto statement: every path and digest
    bundle = bundle_of(payload, key_id, signature)    the sigstore bundle that people keep as model.sig

Verifiers of the format read `resources` and leave alone what they do not know, so each file's size stands beside its
digest, and what a Steelyard knows of the version stands under `steelyard`. The format's own command never looks at
git's files in a model's root; those are signed under `steelyard`, where our verifier checks them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from steelyard_contracts.digests import canonical_json
from steelyard_contracts.manifests import pae

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_GIT = (".git", ".gitattributes", ".github", ".gitignore")
# What lies beside a pulled model: the signature itself, and the notes of Hub clients.
_BESIDE = ("model.sig", ".cache")


@dataclass(frozen=True, slots=True)
class SignedFile:
    path: str
    size: int
    sha256: str

    def is_below(self, folders: Iterable[str]) -> bool:
        return any(PurePosixPath(self.path).is_relative_to(folder) for folder in folders)


def statement_of(name: str, files: Iterable[SignedFile], notes: dict[str, Any]) -> bytes:
    """The statement's bytes. The files may come in any order; the format's is by the parts of their paths."""
    files = list(files)
    signed, git_files = _ordered(files, of_git=False), _ordered(files, of_git=True)
    beside = [path for path in _BESIDE if not any(file.is_below([path]) for file in signed)]
    return canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": name, "digest": {"sha256": manifest_digest(signed)}}],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": [*_GIT, *beside],
                },
                "resources": [_resource(file) for file in signed],
                "steelyard": {**notes, "git_files": [_resource(file) for file in git_files]},
            },
        }
    )


def manifest_digest(files: Iterable[SignedFile]) -> str:
    """What a statement names its subject by: SHA-256 over the files' digests, in the statement's order."""
    return hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for file in _ordered(files, of_git=False))).hexdigest()


def _ordered(files: Iterable[SignedFile], *, of_git: bool) -> list[SignedFile]:
    chosen = (file for file in files if file.is_below(_GIT) == of_git)
    return sorted(chosen, key=lambda file: PurePosixPath(file.path))


def message_of(payload: bytes) -> bytes:
    """The exact bytes that are signed."""
    return pae(PAYLOAD_TYPE, payload)


def bundle_of(payload: bytes, key_id: str, signature: bytes) -> dict[str, Any]:
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": key_id}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def _resource(file: SignedFile) -> dict[str, Any]:
    return {"name": file.path, "algorithm": "sha256", "digest": file.sha256, "size": file.size}
