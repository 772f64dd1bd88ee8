"""A pushed version is signed by the server and verified by its users, with our command and with the format's own."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request

import pytest

from steelyard.model_signature import named_key
from tests.support.model_signing import KeyPair, sign_with_theirs, verify_with_theirs

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def pushed(installation, tmp_path_factory):
    """`lab/signed`, and its folder."""
    folder = tmp_path_factory.mktemp("signed") / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Signed\n")
    (folder / "model.safetensors").write_bytes(b"weights" * 200_000)
    (folder / "sub" / "config.json").write_text("{}")
    installation.run("steelyard", "push", str(folder), "lab/signed")
    return "lab/signed"


@pytest.fixture
def pulled(installation, pushed, tmp_path):
    installation.run("steelyard", "pull", pushed, str(tmp_path / "pulled"))
    return tmp_path / "pulled"


def verify(installation, *arguments):
    """(status, sentences) of `steelyard verify`."""
    done = installation.run("steelyard", "verify", *map(str, arguments), check=False)
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()


def test_what_was_pulled_is_what_was_signed(installation, pushed, pulled):
    assert verify(installation, pulled, "--ref", pushed) == (
        0,
        [f"{pulled} holds the 3 files of lab/signed@v1 as they were signed."],
    )


def test_the_clients_own_cache_is_verified_as_well(installation, pushed):
    folder = installation.run("steelyard", "pull", pushed).stdout.strip().splitlines()[-1]
    status, said = verify(installation, folder, "--ref", pushed)
    assert (status, said) == (0, [f"{folder} holds the 3 files of lab/signed@v1 as they were signed."])


def test_each_fault_is_a_sentence_and_the_status_is_1(installation, pushed, pulled):
    (pulled / "model.safetensors").write_bytes(b"other weights")
    (pulled / "sub" / "config.json").unlink()
    (pulled / "evil.py").touch()
    assert verify(installation, pulled, "--ref", pushed) == (
        1,
        [
            "error: sub/config.json is missing.",
            "error: evil.py is not among the files that were signed.",
            "error: model.safetensors was changed: its bytes are not those that were signed.",
        ],
    )
    shutil.rmtree(pulled / "sub")
    status, said = verify(installation, pulled, "--ref", pushed, "--ignore", pulled / "evil.py")
    assert (status, len(said)) == (1, 2)


def test_a_signature_is_kept_beside_the_model_and_verified_by_the_formats_own_command(
    installation, hub, pushed, pulled, tmp_path
):
    bundle = hub.signature(pushed)
    (pulled / "model.sig").write_bytes(bundle)
    (signer,) = [key for key in hub.signing_keys() if key.kid == named_key(bundle)]
    (tmp_path / "key.pub").write_text(signer.pem)
    assert verify_with_theirs(pulled, tmp_path / "key.pub", pulled / "model.sig") == ""
    assert verify(installation, pulled)[0] == 0
    assert verify(installation, pulled, "--key", tmp_path / "key.pub")[0] == 0
    assert verify(installation, pulled, "--url", installation.url)[0] == 0


def test_what_others_signed_is_verified_with_their_key_alone(installation, pulled, tmp_path):
    key = KeyPair(tmp_path / "keys")
    shutil.rmtree(pulled / ".cache", ignore_errors=True)
    sign_with_theirs(pulled, key, pulled / "model.sig")
    status, said = verify(installation, pulled, "--key", key.public)
    assert (status, said) == (0, [f"{pulled} holds the 3 files as they were signed."])
    status, (sentence,) = verify(installation, pulled)
    assert status == 1
    assert "which is not among the trusted ones" in sentence
    other = KeyPair(tmp_path / "others")
    status, (sentence,) = verify(installation, pulled, "--key", other.public)
    assert status == 1
    assert "which is not among the trusted ones" in sentence


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff"])
def test_a_signature_that_is_none_is_refused_in_a_sentence(installation, pulled, content, tmp_path):
    (tmp_path / "model.sig").write_bytes(content)
    assert verify(installation, pulled, "--signature", tmp_path / "model.sig") == (
        1,
        ["error: This is no signature that was made with a key."],
    )
    status, (sentence,) = verify(installation, pulled)
    assert status == 1
    assert sentence.endswith("name the signature with --signature, or the version with --ref.")


def test_versions_are_signed_soon_after_the_commit_without_being_asked_for(installation, hub, tmp_path):
    (tmp_path / "w.bin").write_bytes(b"1")
    hub.create_repository("lab/signed-soon", public=True)
    hub.push(tmp_path / "w.bin", "lab/signed-soon")
    deadline = time.monotonic() + 240
    while b"Not signed yet." in page(installation, "lab/signed-soon/versions/v1"):
        assert time.monotonic() < deadline, installation.logs()
        time.sleep(0.5)
    assert b">signed</span>" in page(installation, "lab/signed-soon/versions/v1")


def page(installation, path):
    with urllib.request.urlopen(f"{installation.url}/{path}") as answer:
        return answer.read()


def test_a_retired_key_vouches_for_what_it_signed_and_a_revoked_one_for_nothing(installation, hub, pulled, tmp_path):
    installation.manage("signing_key", "rotate")  # devices of other tests trust the first key
    (pulled / "more.txt").write_text("more")
    hub.push(pulled, "lab/signed-anew")
    (tmp_path / "old.sig").write_bytes(hub.signature("lab/signed-anew"))
    (former,) = [key for key in hub.signing_keys() if key.state == "current"]
    installation.manage("signing_key", "rotate")
    assert verify(installation, pulled, "--signature", tmp_path / "old.sig")[0] == 0
    installation.manage("signing_key", "revoke", former.kid, "--reason", "an exercise")
    status, (sentence,) = verify(installation, pulled, "--signature", tmp_path / "old.sig")
    assert status == 1
    assert sentence.startswith(f"error: The key {former.kid[:16]} was revoked on ")
    assert sentence.endswith(": an exercise.")
    assert verify(installation, pulled, "--ref", "lab/signed-anew")[0] == 0


def test_a_bill_of_materials_is_written_to_a_file(installation, pushed, tmp_path):
    installation.run("steelyard", "bom", f"{pushed}@v1", "--output", str(tmp_path / "bom.json"))
    document = json.loads((tmp_path / "bom.json").read_text())
    assert document["metadata"]["component"]["licenses"] == [{"expression": "MIT"}]
    assert document == json.loads(installation.run("steelyard", "bom", f"{pushed}@v1").stdout)
