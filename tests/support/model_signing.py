"""The command of OpenSSF Model Signing, to hold our signatures against its verifier and ours against its signatures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


class KeyPair:
    """A P-256 key in two files, as the command wants it."""

    def __init__(self, folder: Path, name: str = "key") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        self.private, self.public = folder / f"{name}.pem", folder / f"{name}.pub"
        self.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    @property
    def pem(self) -> str:
        return self.public.read_text()


def sign_with_theirs(model: Path, key: KeyPair, signature: Path, *options: str) -> None:
    done = _run("sign", "key", str(model), "--signature", str(signature), "--private_key", str(key.private), *options)
    assert done.returncode == 0, done.stdout + done.stderr


def verify_with_theirs(model: Path, public_key: Path, signature: Path) -> str:
    """What the command says is wrong; empty when nothing is."""
    done = _run("verify", "key", str(model), "--signature", str(signature), "--public_key", str(public_key))
    said = (done.stdout + done.stderr).strip().replace("\\'", "'")
    assert (done.returncode == 0) == ("Verification succeeded" in said), said
    return "" if done.returncode == 0 else said


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)
