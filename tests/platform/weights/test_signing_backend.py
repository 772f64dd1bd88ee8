"""A signing key that lies elsewhere: a program that holds it signs, and only its public half is known here."""

from __future__ import annotations

import json
import sys

import pytest
from django.conf import settings

from steelyard.model_signature import read_signature
from steelyard_contracts.errors import ConflictError, UnavailableError
from steelyard_platform.weights import keyring
from steelyard_platform.weights.signing import is_signed, signature_of
from tests.support.factories import commit_files, make_repository
from tests.support.model_signing import KeyPair

pytestmark = pytest.mark.django_db

# What a vendor's command-line tool does, with a key in a file in place of the vault.
PROGRAM = """
import base64, pathlib, sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
vault = pathlib.Path(sys.argv[1])
if not vault.exists():
    sys.exit("the vault is sealed")
key = serialization.load_pem_private_key(vault.read_bytes(), None)
if sys.argv[2] == "public-key":
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    print(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())
else:
    print(base64.b64encode(key.sign(bytes.fromhex(sys.argv[3]), ec.ECDSA(Prehashed(hashes.SHA256())))).decode())
"""


@pytest.fixture
def vault(tmp_path, monkeypatch):
    (tmp_path / "sign.py").write_text(PROGRAM)
    key = KeyPair(tmp_path, "vault")
    environment = settings.ENVIRONMENT
    monkeypatch.setattr(environment, "signing_backend", "steelyard_platform.weights.signers.CommandSigner")
    command = f"{sys.executable} {tmp_path / 'sign.py'} {key.private}"
    monkeypatch.setattr(environment, "signing_command", command)
    return key


@pytest.fixture
def version(owner, team):
    return commit_files(make_repository(team, owner), owner, {"w": b"1"})


def test_versions_are_signed_by_the_program_and_no_private_half_is_kept_here(vault, version):
    bundle = json.dumps(signature_of(version).bundle).encode()
    assert read_signature(bundle, vault.pem).notes["version"] == "v1"
    assert keyring.current_key().file == ""
    assert list(settings.ENVIRONMENT.keys.glob("*.pem")) == []


def test_a_vault_that_is_sealed_is_our_fault_and_said_so(vault, version, tmp_path):
    keyring.all_keys()
    vault.private.rename(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match="SIGNING_COMMAND did not sign: the vault is sealed"):
        signature_of(version)
    assert not is_signed(version)


def test_a_key_that_was_changed_behind_our_back_signs_nothing_until_it_is_announced(vault, version, tmp_path):
    first = keyring.current_key()
    with pytest.raises(ConflictError, match="still holds the same key"):
        keyring.rotate()
    vault.private.write_bytes(KeyPair(tmp_path / "new").private.read_bytes())
    with pytest.raises(UnavailableError, match=r"is another one now. If that was meant, run manage.py signing_key"):
        signature_of(version)
    second = keyring.rotate()
    assert signature_of(version).key_id == second.key_id != first.key_id


def test_an_installation_moves_from_a_file_to_a_vault_by_a_rotation(version, tmp_path, request):
    by_file = signature_of(version)
    vault = request.getfixturevalue("vault")
    assert signature_of(version) == by_file
    assert keyring.current_key().file
    assert keyring.rotate().public_key.strip() == vault.pem.strip()
    assert is_signed(version)


@pytest.mark.parametrize("name", ["nowhere.Signer", "steelyard_platform.weights.signers.Nothing"])
def test_a_backend_that_cannot_be_loaded_is_named(monkeypatch, version, name):
    monkeypatch.setattr(settings.ENVIRONMENT, "signing_backend", name)
    with pytest.raises(UnavailableError, match=f"names {name}, which cannot be loaded"):
        signature_of(version)
