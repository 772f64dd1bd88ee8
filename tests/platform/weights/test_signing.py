"""Versions are signed by the installation, in a form that the format's own command and our verifier both accept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from steelyard.model_signature import problems, read_signature
from steelyard_contracts.errors import TooLargeError, UnavailableError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import OPERATOR
from steelyard_platform.repos.models import Version
from steelyard_platform.storage.folder import FolderObjectStore
from steelyard_platform.weights import keyring, signing
from steelyard_platform.weights.models import Relation, VersionSignature
from steelyard_platform.weights.services import record_lineage
from steelyard_platform.weights.signing import is_signed, sign_waiting, signature_of
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for
from tests.support.model_signing import verify_with_theirs

pytestmark = pytest.mark.django_db

FILES = {
    ".gitattributes": b"*.bin filter=lfs",
    "README.md": b"# A reader",
    "a.b": b"before a/c by the parts of the path, and after it by its letters",
    "a/c.json": '{"ä": 1}'.encode(),
    "empty": b"",
    "model.safetensors": b"weights" * 100,
}


@pytest.fixture
def model(owner, team):
    return make_repository(team, owner, "reader")


@pytest.fixture
def version(model, owner):
    return commit_files(model, owner, FILES)


def laid_out(folder: Path, files=None) -> Path:
    for path, data in (files or FILES).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def written(version, path: Path) -> tuple[Path, Path]:
    """The signature as people keep it, and the public key that it was made with."""
    signature = signature_of(version)
    key = next(key for key in keyring.all_keys() if key.key_id == signature.key_id)
    path.mkdir()
    (path / "model.sig").write_text(json.dumps(signature.bundle))
    (path / "key.pub").write_text(key.public_key)
    return path / "model.sig", path / "key.pub"


def test_the_formats_own_command_verifies_what_is_signed_here(version, tmp_path):
    signature, key = written(version, tmp_path / "signed")
    folder = laid_out(tmp_path / "reader")
    (folder / "model.sig").write_bytes(signature.read_bytes())
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "x.lock").touch()
    assert verify_with_theirs(folder, key, signature) == ""
    (folder / "model.safetensors").write_bytes(b"other")
    assert "Hash mismatch for 'model.safetensors'" in verify_with_theirs(folder, key, signature)
    laid_out(folder)
    (folder / "empty").unlink()
    assert "Missing files in model 'reader': empty" in verify_with_theirs(folder, key, signature)
    laid_out(folder)
    (folder / "more.py").touch()
    assert "Extra files found in model 'reader': more.py" in verify_with_theirs(folder, key, signature)


def test_the_formats_own_command_refuses_another_key(version, tmp_path):
    signature, _ = written(version, tmp_path / "signed")
    signing.rotate_key(actor=OPERATOR)
    other = tmp_path / "other.pub"
    other.write_text(keyring.current_key().public_key)
    assert "Key mismatch" in verify_with_theirs(laid_out(tmp_path / "reader"), other, signature)


def test_our_verifier_checks_every_file_gits_own_among_them(version, tmp_path):
    signature, key = written(version, tmp_path / "signed")
    statement = read_signature(signature.read_bytes(), key.read_text())
    folder = laid_out(tmp_path / "reader")
    assert statement.files.keys() == FILES.keys()
    assert list(problems(folder, statement)) == []
    (folder / ".gitattributes").write_text("")
    assert list(problems(folder, statement)) == [
        ".gitattributes was changed: its bytes are not those that were signed."
    ]


def test_a_version_that_brings_a_signature_of_its_own_has_it_signed_too(model, owner, tmp_path):
    files = {"w": b"1", "model.sig": b"the upstream's"}
    signature, key = written(commit_files(model, owner, files), tmp_path / "signed")
    folder = laid_out(tmp_path / "reader", files)
    assert verify_with_theirs(folder, key, signature) == ""
    (folder / "model.sig").write_text("somebody else's")
    assert "Hash mismatch for 'model.sig'" in verify_with_theirs(folder, key, signature)


def test_a_statement_says_whose_version_it_is_and_what_it_was_made_from(version, model, owner, team):
    dataset = picture_dataset(make_repository(team, owner, "secret", RepositoryKind.DATASET), owner)
    before = signature_of(version)
    record_lineage(source=dataset, target=version, relation=Relation.TRAINED_ON, job=None)
    after = signature_of(version)
    notes = read_signature(json.dumps(after.bundle).encode(), keyring.current_key().public_key).notes
    assert before.lineage == []
    assert notes["lineage"] == [{"relation": "trained-on", "commit": dataset.commit_id, "declared": False}]
    assert (notes["repository"], notes["version"], notes["commit"]) == (str(model.ref), "v1", version.commit_id)
    assert notes["author"] == owner.username
    assert "secret" not in json.dumps(notes)


def test_versions_are_signed_without_being_asked_for_and_no_byte_is_read(model, owner, version, monkeypatch):
    commit_files(model, owner, {"empty": None, "w": b"2"})
    monkeypatch.setattr(FolderObjectStore, "read", lambda *_: pytest.fail("a file was read"))
    assert [sign_waiting(newest=1), sign_waiting(newest=1), sign_waiting(), sign_waiting()] == [1, 0, 1, 0]
    assert VersionSignature.objects.count() == Version.objects.count() == 2
    assert AuditRow.objects.filter(action="sign", target=model.full_name).count() == 2


def test_signing_takes_the_same_few_queries_for_many_files(model, owner, django_assert_max_num_queries):
    version = commit_files(model, owner, {f"{number}": b"x" for number in range(300)})
    keyring.all_keys()
    with django_assert_max_num_queries(12):
        signature_of(version)


def test_a_key_that_was_rotated_keeps_what_it_signed_valid(version, model, owner):
    old = signature_of(version)
    signing.rotate_key(actor=OPERATOR)
    new = signature_of(commit_files(model, owner, {"w": b"2"}))
    assert old.key_id != new.key_id
    assert signature_of(version).key_id == old.key_id
    assert is_signed(version)
    states = [(key.key_id, key.state) for key in keyring.all_keys()]
    assert states == [(old.key_id, "retired"), (new.key_id, "current")]


def test_what_a_revoked_key_signed_is_signed_anew(version):
    old = signature_of(version)
    file = keyring.current_key().file
    signing.revoke_key(key_id=old.key_id[:12], reason="a lost disk", actor=OPERATOR)
    assert signing.known_signature(version) is None
    assert sign_waiting() == 1
    assert signature_of(version).key_id == keyring.current_key().key_id != old.key_id
    assert keyring.pinned_key().file != file
    assert not (settings.ENVIRONMENT.keys / file).exists()


def test_a_version_too_large_to_sign_says_so_and_holds_up_nobody(version, model, owner, monkeypatch):
    monkeypatch.setattr(signing, "MAX_FILES", 5)
    small = commit_files(model, owner, {path: None for path in FILES if path != "empty"})
    with pytest.raises(TooLargeError, match="has 6 files; versions of up to 5 can be signed"):
        signature_of(version)
    assert not is_signed(version)
    assert sign_waiting() == 1
    assert is_signed(small)


def test_a_key_that_is_gone_leaves_versions_unsigned_until_it_is_back(version, owner):
    path = settings.ENVIRONMENT.keys / keyring.current_key().file
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(UnavailableError, match="release.pem cannot be read; put it back"):
        signature_of(version)
    assert (is_signed(version), sign_waiting()) == (False, 0)
    path.write_bytes(kept)
    assert is_signed(version)


# --- the API and the page ----------------------------------------------------------------------


def address(model, version, what):
    return f"/api/v1/models/{model}/versions/{version}/{what}"


def test_a_signature_is_fetched_as_a_file_by_whoever_may_see_the_version(client, model, version, owner):
    token = {"HTTP_AUTHORIZATION": f"Bearer {token_for(owner)}"}
    answer = client.get(address(model, "v1", "signature"), **token)
    assert answer["Content-Disposition"] == 'attachment; filename="model.sig"'
    read_signature(answer.content, keyring.current_key().public_key)
    stranger = {"HTTP_AUTHORIZATION": f"Bearer {token_for(make_user())}"}
    for what in ("signature", "bom"):
        refused = client.get(address(model, "v1", what), **stranger)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "repository_not_found")
        assert client.get(address(model, "v9", what), **token).json()["error"]["code"] == "revision_not_found"


def test_public_keys_are_for_everybody(client):
    signing.create_key(actor=OPERATOR)
    signing.rotate_key(actor=OPERATOR)
    first, second = client.get("/.well-known/steelyard-signing-keys.json").json()["keys"]
    assert (first["kty"], first["crv"], first["alg"], first["use"]) == ("EC", "P-256", "ES256", "sig")
    assert (first["state"], second["state"], second["valid_until"]) == ("retired", "current", None)
    assert first["valid_until"] == second["valid_from"]
    assert second["pem"].startswith("-----BEGIN PUBLIC KEY-----")
    assert "PRIVATE" not in json.dumps([first, second])


def test_the_versions_page_shows_the_signature_once_it_is_there(client, model, version, owner):
    client.force_login(owner)
    page = f"{model.page}/versions/v1"
    assert "Not signed yet." in client.get(page).content.decode()
    sign_waiting()
    text = client.get(page).content.decode()
    assert '<span class="pill good">signed</span>' in text
    assert address(model, "v1", "signature") in text


# --- the command -------------------------------------------------------------------------------


def test_keys_are_made_replaced_listed_and_revoked_by_the_command(capsys):
    call_command("signing_key", "create")
    with pytest.raises(CommandError, match="There is a signing key already"):
        call_command("signing_key", "create")
    call_command("signing_key", "rotate")
    current = keyring.current_key().key_id
    call_command("signing_key", "revoke", current[:10], "--reason", "an exercise")
    with pytest.raises(CommandError, match="was revoked at"):
        call_command("signing_key", "revoke", current[:10], "--reason", "again")
    with pytest.raises(CommandError, match="No signing keys begin with 'zz'"):
        call_command("signing_key", "revoke", "zz", "--reason", "a typing error")
    capsys.readouterr()
    call_command("signing_key", "list")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["retired", "revoked", "current"]
    assert "revoked (an exercise)" in lines[1]
    actions = AuditRow.objects.filter(target="installation").order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["create signing key", "rotate signing key", "revoke signing key"]
