"""Our verifier against the signatures of others: those their tools make today, and those they published before."""

from __future__ import annotations

import ast
import base64
import json
import shutil
import sys
from pathlib import Path

import pytest

from steelyard import model_signature
from steelyard.model_signature import SignatureError, named_key, problems, read_signature
from tests.support.model_signing import KeyPair, sign_with_theirs

PUBLISHED = Path(__file__).parent / "published_signatures"
PEM = (PUBLISHED / "signing-key-pub.pem").read_text()
BESIDE = ["model.sig", "ignore-me"]


@pytest.fixture
def key(tmp_path):
    return KeyPair(tmp_path / "keys")


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


def write_model(folder):
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * 1000)
    (folder / "sub" / "häuser.json").write_text("{}")
    (folder / "empty").touch()
    return folder


def faults(folder, signature, key):
    return list(problems(folder, read_signature(signature.read_bytes(), key.pem)))


def published(version):
    """The signed folder, or the file where a single one was signed."""
    folder = PUBLISHED / version
    statement = read_signature((folder / "model.sig").read_bytes(), PEM)
    return (folder / "signme-1" if "." in statement.files else folder), statement


@pytest.mark.parametrize("version", ["v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"])
def test_published_signatures_of_every_version_are_read(version, tmp_path):
    path, statement = published(version)
    assert list(problems(path, statement, ignored=BESIDE)) == []
    changed = tmp_path / "copy"
    shutil.copytree(PUBLISHED / version, changed)
    (changed / "signme-1").write_text("signme-2")
    copy = changed / "signme-1" if path.is_file() else changed
    name = "." if path.is_file() else "signme-1"
    assert list(problems(copy, statement, ignored=BESIDE)) == [
        f"{name} was changed: its bytes are not those that were signed."
    ]


@pytest.mark.parametrize("version", ["v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"])
def test_published_signatures_are_not_taken_for_another_key(version, key):
    with pytest.raises(SignatureError, match="not made with this key|not with"):
        read_signature((PUBLISHED / version / "model.sig").read_bytes(), key.pem)


def test_what_their_command_signs_is_verified_here(model, key, tmp_path):
    sign_with_theirs(model, key, tmp_path / "model.sig")
    assert faults(model, tmp_path / "model.sig", key) == []
    (model / "sub" / "häuser.json").write_text("[]")
    (model / "empty").unlink()
    (model / "evil.py").touch()
    assert faults(model, tmp_path / "model.sig", key) == [
        "empty is missing.",
        "evil.py is not among the files that were signed.",
        "sub/häuser.json was changed: its bytes are not those that were signed.",
    ]


def test_what_tools_leave_beside_a_model_is_ignored_and_what_is_signed_is_not(model, key, tmp_path):
    (model / ".gitattributes").write_text("*.bin filter=lfs")
    sign_with_theirs(model, key, model / "model.sig", "--no-ignore-git-paths")
    for path in (".git/HEAD", ".cache/huggingface/x.metadata", ".gitignore"):
        (model / path).parent.mkdir(parents=True, exist_ok=True)
        (model / path).touch()
    assert faults(model, model / "model.sig", key) == []
    (model / ".gitattributes").write_text("*.bin -text")
    assert faults(model, model / "model.sig", key) == [
        ".gitattributes was changed: its bytes are not those that were signed."
    ]


def test_a_wrong_key_is_named(model, key, tmp_path):
    other = KeyPair(tmp_path / "others")
    sign_with_theirs(model, other, tmp_path / "model.sig")
    named = named_key((tmp_path / "model.sig").read_bytes())
    with pytest.raises(SignatureError, match=f"signed with the key {named[:16]}, not with"):
        faults(model, tmp_path / "model.sig", key)


def test_links_are_checked_by_what_they_lead_to_and_folders_behind_links_are_not_trusted(model, key, tmp_path):
    sign_with_theirs(model, key, tmp_path / "model.sig")
    (model / "model.safetensors").replace(tmp_path / "blob")
    (model / "model.safetensors").symlink_to(tmp_path / "blob")
    assert faults(model, tmp_path / "model.sig", key) == []
    (tmp_path / "elsewhere").mkdir()
    (model / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "blob").unlink()
    assert faults(model, tmp_path / "model.sig", key) == [
        "model.safetensors is not a file.",
        "more is not among the files that were signed.",
    ]


def tampered(change):
    bundle = json.loads((PUBLISHED / "v1.1.0" / "model.sig").read_bytes())
    change(bundle)
    return json.dumps(bundle).encode()


def _change_payload(bundle):
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"signme-1", b"signme-9")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_change_payload, "was changed since"),
        (lambda b: b["dsseEnvelope"].update(payloadType="text/plain"), "of another form"),
        (lambda b: b.update(mediaType="application/x"), "of another form"),
        (lambda b: b["dsseEnvelope"].update(signatures=[]), "damaged"),
        (lambda b: b["dsseEnvelope"].pop("payload"), "damaged"),
        (lambda b: b.pop("verificationMaterial"), "no signature that was made with a key"),
    ],
    ids=["payload", "type", "media", "unsigned", "empty", "keyless"],
)
def test_a_signature_that_was_tampered_with_says_how(change, sentence):
    with pytest.raises(SignatureError, match=sentence):
        read_signature(tampered(change), PEM)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000], ids=str)
def test_what_is_no_signature_is_refused_in_a_sentence(data):
    with pytest.raises(SignatureError, match="no signature that was made with a key"):
        read_signature(data, PEM)


@pytest.mark.parametrize("pem", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_refused_in_a_sentence(pem):
    with pytest.raises(SignatureError, match="no public key in PEM form"):
        read_signature(b"{}", pem)


def test_the_verifier_needs_cryptography_alone():
    """So that a device can carry it as one file."""
    tree = ast.parse(Path(model_signature.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {"cryptography"}
